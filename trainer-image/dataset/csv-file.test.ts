import assert from 'node:assert/strict'
import { mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises'
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
