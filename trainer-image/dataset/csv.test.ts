import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { CsvInvalid, fieldOf, NotUtf8, parsePieces } from './csv.ts'
import { fillFrom } from './csv-file.ts'
import { randomOf } from './random.ts'

async function parse(pieces: readonly (string | Uint8Array)[], maxRecord = 1_000_000) {
  async function* stream() {
    for (const piece of pieces) yield Buffer.from(piece)
  }
  let columns: readonly string[] = []
  const records: (readonly string[])[] = []
  for await (const found of parsePieces(fillFrom(stream()), { maxRecord, pieceBytes: 1 << 12 })) {
    columns = found.columns
    for (let record = 0; record < found.count; record++)
      records.push(columns.map((_, column) => fieldOf(found, record, column)))
  }
  return { columns, records }
}

const read = [
  {
    csv: 'plain',
    text: 'a,b\n1,2\n3,4\n',
    columns: ['a', 'b'],
    records: [
      ['1', '2'],
      ['3', '4'],
    ],
  },
  { csv: 'no line break at its end', text: 'a,b\n1,2', columns: ['a', 'b'], records: [['1', '2']] },
  { csv: 'a quoted field last, no line break', text: 'a,b\n1,"2"', columns: ['a', 'b'], records: [['1', '2']] },
  { csv: 'an empty last field', text: 'a,b\n1,\n', columns: ['a', 'b'], records: [['1', '']] },
  { csv: 'an empty last field at the end of the text', text: 'a,b\n1,', columns: ['a', 'b'], records: [['1', '']] },
  { csv: 'doubled quotes', text: 'a\n"say ""hi"""\n""""\n""\n', columns: ['a'], records: [['say "hi"'], ['"'], ['']] },
  {
    csv: 'line breaks and delimiters in quotes',
    text: 'a,b\n"1\r\n\n2,3",x\n',
    columns: ['a', 'b'],
    records: [['1\r\n\n2,3', 'x']],
  },
  { csv: 'CRLF', text: 'a,b\r\n1,2\r\n', columns: ['a', 'b'], records: [['1', '2']] },
  { csv: 'old Mac line breaks', text: 'a,b\r1,2\r', columns: ['a', 'b'], records: [['1', '2']] },
  { csv: 'a byte order mark', text: '\ufeffa,b\n1,2\n', columns: ['a', 'b'], records: [['1', '2']] },
  { csv: 'blank lines', text: 'a,b\n\n1,2\n  \n\n', columns: ['a', 'b'], records: [['1', '2']] },
  { csv: 'semicolons alone', text: 'a;b\n1,5;2\n', columns: ['a', 'b'], records: [['1,5', '2']] },
  { csv: 'tabs', text: 'a\tb\n1,5\t2\n', columns: ['a', 'b'], records: [['1,5', '2']] },
  { csv: 'one column with commas inside quotes', text: 'text\n"a, b"\n', columns: ['text'], records: [['a, b']] },
  {
    csv: 'a quote within an unquoted field',
    text: 'a,b\n5" nail,x\n',
    columns: ['a', 'b'],
    records: [['5" nail', 'x']],
  },
  { csv: 'row numbers under an empty name', text: ',b\n0,x\n', columns: ['column0', 'b'], records: [['0', 'x']] },
  { csv: 'nothing', text: '', columns: [], records: [] },
] as const
for (const { csv, text, columns, records } of read)
  test(`${csv}: the same however it is divided`, async () => {
    const bytes = Buffer.from(text)
    for (let size = 1; size <= bytes.length + 1; size++) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(i * size, i * size + size),
      )
      assert.deepEqual(await parse(pieces), { columns, records }, `pieces of ${size}`)
    }
  })

const letters = 'a,b\né,€\n𝄞,x\n'
test('characters of two to four bytes are whole however they are divided, and half of one is refused', async () => {
  const bytes = Buffer.from(letters)
  for (let size = 1; size <= 4; size++) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size),
    )
    assert.deepEqual((await parse(pieces)).records, [
      ['é', '€'],
      ['𝄞', 'x'],
    ])
  }
  for (const bad of [[0xc3], [0xe2, 0x82], [0xf0, 0x9d, 0x84], [0x80], [0xff], [0xc3, 0x28], [0xed, 0xa0, 0x80]])
    for (const after of ['', '\n', ' and more,2\n'])
      await assert.rejects(parse([Buffer.from('a,b\n1,'), Buffer.from(bad), Buffer.from(after)]), NotUtf8)
})

const refused = [
  { csv: 'too many fields', text: 'a,b\n1,2\n1,2,3\n', message: 'line 3 has 3 fields; expected 2: a, b' },
  { csv: 'too few fields', text: 'a,b\n"1\n1",2\n1\n', message: 'line 4 has 1 fields; expected 2: a, b' },
  { csv: 'a quote never closed', text: 'a,b\n1,2\n1,"2\n3,4\n', message: 'line 3 opens a quote that is never closed' },
  { csv: 'text after a quote', text: 'a,b\n"1"x,2\n', message: 'line 2 goes on after a closing quote: "x,2\\n"' },
  { csv: 'a column twice', text: 'a,a\n1,2\n', message: 'the header has column "a" twice; expected different names' },
  { csv: 'a blank header', text: '\n1\n', message: 'line 1 is blank; expected a header' },
  {
    csv: 'a decimal comma under semicolons and commas',
    text: 'a;b,c\n1,5;2,3\n',
    message: 'line 2 has 3 fields; expected 2: a;b, c',
  },
]
for (const { csv, text, message } of refused)
  test(`${csv}: refused with the line`, async () => {
    await assert.rejects(parse([text]), new CsvInvalid(message))
    await assert.rejects(parse([...text]), { message: /./ })
  })

test('a record longer than allowed is refused while it is read', () =>
  assert.rejects(parse(['a\n"', ...Array<string>(100).fill('x'.repeat(100))], 5000), {
    message: /the record at line 2 is longer than 5000/,
  }))

test('whatever is written with all fields quoted is read back', async () => {
  const random = randomOf(7, 'csv')
  const alphabet = ['a', '"', ',', '\n', '\r', ';', '\t', ' ', 'é', '""', '\r\n']
  for (let round = 0; round < 200; round++) {
    const rows = Array.from({ length: 5 }, () =>
      Array.from({ length: 3 }, () =>
        Array.from({ length: Math.floor(random() * 8) }, () => alphabet[Math.floor(random() * alphabet.length)]).join(
          '',
        ),
      ),
    )
    const text = `x,y,z\n${rows.map((row) => row.map((field) => `"${field.replaceAll('"', '""')}"`).join(',')).join('\n')}\n`
    const cut = Math.floor(random() * text.length)
    assert.deepEqual((await parse([text.slice(0, cut), text.slice(cut)])).records, rows)
  }
})

/** A character at a time, with nothing but what RFC 4180 and csv_scan.h say; undefined where it must be refused. */
function recordsIn(text: string): string[][] | undefined {
  const records: string[][] = []
  let at = 0
  while (at < text.length) {
    const fields: string[] = []
    let isQuoted = false
    for (let more = true; more; ) {
      let field = ''
      isQuoted = text[at] === '"'
      if (isQuoted) {
        at++
        while (text[at] !== '"' || text[at + 1] === '"') {
          if (at >= text.length) return undefined
          field += text[at]
          at += text[at] === '"' ? 2 : 1
        }
        at++
      } else while (at < text.length && !',\r\n'.includes(text[at] as string)) field += text[at++]
      fields.push(field)
      if (at < text.length && !',\r\n'.includes(text[at] as string)) return undefined
      more = text[at] === ','
      at += text.startsWith('\r\n', at) ? 2 : 1
    }
    if (fields.length === 1 && !isQuoted && fields[0]?.trim() === '') continue
    if (fields.length !== records[0]?.length && records.length > 0) return undefined
    records.push(fields)
  }
  return records
}

test('random text is read, or refused, as one character at a time, however it is divided', async () => {
  const random = randomOf(11, 'csv')
  const alphabet = [
    'a',
    'bcd',
    '"',
    '"',
    '""',
    ',',
    ',',
    ',',
    '\n',
    '\r\n',
    '\r',
    ' ',
    '\u3000',
    '\u2003',
    'é',
    'long '.repeat(9),
  ]
  const pick = (count: number) => Array.from({ length: count }, () => alphabet[Math.floor(random() * alphabet.length)])
  let taken = 0
  for (let round = 0; round < 3000; round++) {
    const text = `x,y\n${pick(1 + Math.floor(random() * 14)).join('')}`
    const bytes = Buffer.from(text)
    const size = 1 + Math.floor(random() * bytes.length)
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size),
    )
    const found = await parse(pieces)
      .then(({ columns, records }) => [columns, ...records])
      .catch((error: Error) => {
        assert.ok(error instanceof CsvInvalid, `${error}`)
        return undefined
      })
    assert.deepEqual(found, recordsIn(text), JSON.stringify(text))
    if (found) taken++
  }
  assert.ok(taken > 300 && taken < 2700, `${taken}`)
})

test('records are of one kind whose deciding fields are the same, as many kinds as are wanted', async () => {
  const text = 'a,b,c\n1,x,p\n2,"x",q\n3,xp,""\n4,x,p\n5,"p""",x\n6,"x","p"\n7,z,z\n'
  const options = { maxRecord: 100, wanted: ['c', 'b', 'a'], deciding: 2, mostKinds: 4, pieceBytes: 1 << 12 }
  const kinds: number[] = []
  const firsts: string[] = []
  for await (const piece of parsePieces(fillFrom(Readable.from([Buffer.from(text)])), options)) {
    kinds.push(...piece.kinds)
    firsts.push(...Array.from(piece.newKinds, (record) => fieldOf(piece, record, 2)))
  }
  assert.deepEqual(kinds, [0, 1, 2, 0, 3, 0, 0xffff])
  assert.deepEqual(firsts, ['1', '2', '3', '5'])
})
