import assert from 'node:assert/strict'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { csv, prose } from '../../test/fixtures/sources.ts'
import { CsvInvalid, NotUtf8 } from './csv.ts'
import { readCsvFile } from './csv-file.ts'

const root = await mkdtemp(join(tmpdir(), 'csv-file-'))
after(() => rm(root, { recursive: true, force: true }))

const wanted = ['id', 'text', 'author']
const options = { maxRecord: 16 << 20, wanted }
/** Of the size from which on a thread parses. */
const LARGE = 16 << 20

async function recordsIn(name: string, content: string | Uint8Array, size?: number) {
  const path = join(root, name)
  await writeFile(path, content)
  const read: number[] = []
  const records: string[][] = []
  const found = readCsvFile(path, size ?? (await stat(path)).size, options, (bytes) => read.push(bytes))
  for await (const { count, value } of found)
    for (let row = 0; row < count; row++) records.push(wanted.map((_, column) => value(row, column) as string))
  return { records, read }
}

/** 19 MB of prose with quotes, line breaks and characters of several bytes. */
const rows = Array.from({ length: 28_000 }, (_, i) => [
  String(i),
  `${prose[i % 600]}${i % 3 ? '' : '\n"Ünd", 𝄞'}`,
  i % 2 ? 'human' : '',
])
const content = csv([['id', 'text', 'author'], ...rows])

test('a large file is parsed on a thread of its own, to the same records as on this one', async () => {
  assert.ok(Buffer.byteLength(content) > LARGE, `${Buffer.byteLength(content)}`)
  const { records, read } = await recordsIn('large.csv', content)
  assert.deepEqual(records, rows)
  assert.deepEqual(
    read,
    read.toSorted((a, b) => a - b),
  )
  assert.equal(read.at(-1), Buffer.byteLength(content))
  assert.deepEqual((await recordsIn('here.csv', content, 1)).records, rows)
})

test('rows that are left out there are counted here, and the others keep their numbers', async () => {
  const path = join(root, 'selected.csv')
  await writeFile(path, content)
  const selection = {
    human: [
      { column: 'author', values: ['human'] },
      { column: 'id', values: rows.flatMap(([id]) => (Number(id) % 5 ? [] : [id!])) },
    ],
    rows: 20_000,
    names: { seed: 1, prefix: 'x-', before: 0 },
    shown: 0,
    drawn: { wanted: 0, limit: 0 },
  }
  const found: unknown[] = []
  let left = 0
  let last = 0
  const selected = readCsvFile(path, LARGE, { ...options, wanted: ['author', 'id', 'text'], selection }, () => {})
  for await (const { count, number, value, read, leftOut = [] } of selected) {
    for (let row = 0; row < count; row++) found.push([number(row), value(row, 0), value(row, 2)])
    left += leftOut.reduce((sum, { count }) => sum + count, 0)
    last = read
  }
  const human = rows.slice(0, 20_000).flatMap(([id, text, author], row) => {
    return author === 'human' && Number(id) % 5 === 0 ? [[row, author, text]] : []
  })
  assert.deepEqual(found, human)
  assert.deepEqual([left, last], [20_000 - human.length, 20_000])
})

test('a packed file is unpacked there', async () => {
  assert.deepEqual((await recordsIn('large.csv.gz', gzipSync(content, { level: 1 }), LARGE)).records, rows)
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
  test(`${what} is the same error from there as from here`, async () => {
    const of = (size: number) => recordsIn(name, content, size).catch((thrown: Error & { code?: string }) => thrown)
    const [here, there] = [await of(1), await of(LARGE)]
    assert.ok(here instanceof Error && there instanceof Error)
    assert.deepEqual([there.name, there.message, there.code], [here.name, here.message, here.code])
    if (error instanceof RegExp) assert.match(there.message, error)
    else assert.ok(there instanceof error)
  })

test('a reader that has enough ends the thread', async () => {
  const path = join(root, 'large.csv')
  for await (const { count } of readCsvFile(path, LARGE, options, () => {})) {
    assert.ok(count > 0)
    break
  }
})
