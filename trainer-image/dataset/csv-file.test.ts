import assert from 'node:assert/strict'
import { mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { csv, prose } from '../../test/fixtures/sources.ts'
import { CsvInvalid, NotUtf8 } from './csv.ts'
import { readCsvFile } from './csv-file.ts'
import { FILE_START, type FilePlace, type Part } from './part.ts'
import type { Rows } from './read.ts'

const root = await mkdtemp(join(tmpdir(), 'csv-file-'))
after(() => rm(root, { recursive: true, force: true }))

const wanted = ['id', 'text', 'author']
const options = { maxRecord: 16 << 20, wanted }

async function recordsIn(name: string, content: string | Uint8Array) {
  const path = join(root, name)
  await writeFile(path, content)
  const read: number[] = []
  const records: string[][] = []
  for await (const { count, value } of readCsvFile(path, options, undefined, (bytes) => read.push(bytes)))
    for (let row = 0; row < count; row++) records.push(wanted.map((_, column) => value(row, column) as string))
  return { records, read }
}

/** 7 MB, in four pieces, of prose with quotes, line breaks and characters of several bytes. */
const rows = Array.from({ length: 10_000 }, (_, i) => [
  String(i),
  `${prose[i % 600]}${i % 3 ? '' : '\n"Ünd", 𝄞'}`,
  i % 2 ? 'human' : '',
])
const content = csv([['id', 'text', 'author'], ...rows])

test('the records of all pieces are read, and how many bytes that were is told', async () => {
  const { records, read } = await recordsIn('large.csv', content)
  assert.deepEqual(records, rows)
  assert.ok(read.length > 3, `${read.length}`)
  assert.deepEqual(
    read,
    read.toSorted((a, b) => a - b),
  )
  assert.equal(read.at(-1), Buffer.byteLength(content))
})

/** Part after part, each from where the one before ended. */
async function* inParts(path: string, leastBytes: number): AsyncGenerator<Rows> {
  for (let from: FilePlace | undefined = FILE_START; from; ) {
    const part: Part = { from, leastBytes }
    from = undefined
    for await (const rows of readCsvFile(path, options, undefined, undefined, part)) {
      assert.equal(from, undefined)
      from = rows.next
      yield rows
    }
  }
}
const some = rows.slice(0, 2000)

test('a file that is read in parts gives the same rows; a part ends behind the record that passes its size', async () => {
  const path = join(root, 'parts.csv')
  // Line breaks in the header and in quotes, records that end in each way, characters of several bytes.
  const records = some.map((row, i) => csv([row]).slice(0, -1) + ['\r', '\n', '\r\n'][i % 3])
  const bytes = Buffer.from(
    `\ufeffid,text,"n\nü",author\r${records.join('').replaceAll(/,(human)?([\r\n]+)(?=\d|$)/g, ',ü,$1$2')}`,
  )
  await writeFile(path, bytes)
  // Longer by a piece at most.
  for (const [leastBytes, mostBytes] of [
    [1, 66_000],
    [300_000, 366_000],
  ] as const) {
    const found: (string | undefined)[][] = []
    const places: FilePlace[] = [FILE_START]
    for await (const { count, number, value, read, next } of inParts(path, leastBytes)) {
      for (let row = 0; row < count; row++) {
        assert.equal(number(row), found.length)
        found.push(wanted.map((_, column) => value(row, column)))
      }
      assert.equal(read, found.length)
      if (next === undefined) continue
      assert.match(bytes.toString('latin1', next.byte - 1, next.byte), /[\r\n]/)
      const size = next.byte - (places.at(-1)?.byte ?? 0)
      assert.ok(size >= leastBytes && size < mostBytes, `${size}`)
      places.push(next)
    }
    assert.deepEqual(found, some)
    assert.ok(places.length > bytes.length / mostBytes, `${places.length}`)
  }
})

test('a fault in a later part is told with the line that it has in the file', async () => {
  const path = join(root, 'fault.csv')
  const lines = csv([['id', 'text', 'author'], ...some])
  await writeFile(path, `${lines}1,2\n`)
  const message = `line ${lines.split('\n').length} has 2 fields; expected 3: id, text, author`
  for (const leastBytes of [300_000, Number.POSITIVE_INFINITY])
    await assert.rejects(
      async () => {
        for await (const _ of inParts(path, leastBytes));
      },
      { name: 'CsvInvalid', message },
    )
})

test('rows that are left out are counted, and the others keep their numbers', async () => {
  const path = join(root, 'selected.csv')
  await writeFile(path, content)
  const selection = {
    human: [
      { column: 'author', values: ['human'] },
      { column: 'id', values: rows.flatMap(([id]) => (Number(id) % 5 ? [] : [id!])) },
    ],
    rows: 8000,
    names: { seed: 1, prefix: 'x-', before: 0 },
    shown: 0,
    drawn: { wanted: 0, limit: 0 },
  }
  const found: unknown[] = []
  let left = 0
  let last = 0
  const selected = readCsvFile(path, { ...options, wanted: ['author', 'id', 'text'] }, selection)
  for await (const { count, number, value, read, leftOut = [] } of selected) {
    for (let row = 0; row < count; row++) found.push([number(row), value(row, 0), value(row, 2)])
    left += leftOut.reduce((sum, { count }) => sum + count, 0)
    last = read
  }
  const human = rows.slice(0, 8000).flatMap(([id, text, author], row) => {
    return author === 'human' && Number(id) % 5 === 0 ? [[row, author, text]] : []
  })
  assert.deepEqual(found, human)
  assert.deepEqual([left, last], [8000 - human.length, 8000])
})

test('a packed file is unpacked', async () => {
  assert.deepEqual((await recordsIn('large.csv.gz', gzipSync(content, { level: 1 }))).records, rows)
})

const failures = [
  { what: 'a record too short', name: 'a.csv', content: `${content}1,2\n`, error: CsvInvalid },
  {
    what: 'Latin-1',
    name: 'a.csv',
    content: Buffer.concat([Buffer.from(content), Buffer.from([0xe9, 10])]),
    error: NotUtf8,
  },
  {
    what: 'a packed file cut in two',
    name: 'a.csv.gz',
    content: gzipSync(content, { level: 1 }).subarray(0, 1 << 20),
    error: /unexpected end of file/,
  },
]
for (const { what, name, content, error } of failures)
  test(`${what} at the end of a file of several pieces is refused`, () =>
    assert.rejects(recordsIn(name, content), error))

test('a reader that has enough closes the file', async () => {
  const path = join(root, 'large.csv')
  for await (const { count } of readCsvFile(path, options)) {
    assert.ok(count > 0)
    break
  }
  const open = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(String)),
  )
  assert.ok(!open.includes(path))
})
