import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { open, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { PrepareConfig } from '#proto/humanizer/trainer/v1/preparation.ts'
import { freshFolders } from '../../test/fixtures/fresh-folders.ts'
import { smallDisk } from '../../test/fixtures/small-disk.ts'
import { csv, machineText, prose } from '../../test/fixtures/sources.ts'
import { exitCodes } from '../job/failure.ts'
import { prepare } from './prepare.ts'
import { type Change, configOf, contextOf, parquetOf, rowsOf } from './preparing.ts'

const freshFolder = await freshFolders('bad-input-')

async function prepareFile(name: string, content: string | Uint8Array, change: Change = {}) {
  const folder = await freshFolder()
  await writeFile(join(folder, name), content)
  return preparePath(join(folder, name), change)
}

async function preparePath(filePath: string, change: Change = {}) {
  const dataDir = await freshFolder()
  const result = await prepare(configOf([{ filePath }], change), contextOf(dataDir))
  const rows = await Promise.all(['train', 'validation'].map((side) => rowsOf(dataDir, result.location, side)))
  return { result, texts: rows.flat().map(({ target }) => target as string) }
}

const [first, second] = prose as [string, string]

const packed = gzipSync(csv([['text'], ...prose.map((text) => [text])]))
const mixed = Buffer.concat([
  Buffer.from(csv([['text'], [first]])),
  Buffer.from('"caf\xe9 au lait, encore"\n', 'latin1'),
])
const stopped = [
  { what: 'an empty file', name: 'a.parquet', content: Buffer.alloc(0), message: /a\.parquet is empty/ },
  {
    what: 'a gzip cut in the middle',
    name: 'a.csv.gz',
    content: packed.subarray(0, packed.length / 2),
    message: /a\.csv\.gz as CSV: it can not be unpacked: unexpected end of file/,
  },
  {
    what: 'a gzip that is none',
    name: 'a.csv.gz',
    content: Buffer.from(csv([['text'], [first]])),
    message: /it can not be unpacked: incorrect header check/,
  },
  {
    what: 'UTF-8 with a row of Latin-1',
    name: 'a.csv',
    content: mixed,
    message: /a\.csv as CSV: its bytes are not UTF-8/,
  },
  {
    what: 'UTF-16',
    name: 'a.csv',
    content: Buffer.from(`\ufeff${csv([['text'], [first]])}`, 'utf16le'),
    message: /not UTF-8/,
  },
  {
    what: 'ragged CSV',
    name: 'a.csv',
    content: csv([['id', 'text'], ['1', `${first}\n"and" more`], ['2'], ['3', second, 'x']]),
    message: /line 4 has 1 fields; expected 2: id, text/,
  },
]
for (const { what, name, content, message } of stopped)
  test(`${what} stops, with the file and what is wrong`, () =>
    assert.rejects(prepareFile(name, content), { reason: 'SourceInvalid', message }))

test('a parquet cut in the middle stops, with the file', async () => {
  const path = join(await freshFolder(), 'a.parquet')
  await parquetOf(
    path,
    prose.map((text) => ({ text })),
  )
  const whole = await readFile(path)
  await writeFile(path, whole.subarray(0, whole.length / 2))
  await assert.rejects(preparePath(path), { reason: 'SourceInvalid', message: /a\.parquet as Parquet: .*magic bytes/ })
  // The foot is whole, the pages are not.
  await writeFile(
    path,
    Buffer.concat([whole.subarray(0, 4), Buffer.alloc(whole.length - 4004, 0x5a), whole.subarray(-4000)]),
  )
  await assert.rejects(preparePath(path), { reason: 'SourceInvalid', message: /a\.parquet as Parquet/ })
})

/** A file of one line of 100 MB, with what stands around it. */
async function longLine(name: string, before: string, afterwards: string): Promise<string> {
  const path = join(await freshFolder(), name)
  const file = await open(path, 'w')
  await file.write(before)
  const piece = 'prose and more of it '.repeat(50_000)
  for (let bytes = 0; bytes < 100e6; bytes += piece.length) await file.write(piece)
  await file.write(afterwards)
  await file.close()
  return path
}

const long = [
  {
    name: 'a.csv',
    before: 'text\n"',
    afterwards: '"\n',
    reason: 'SourceInvalid',
    message: /the record at line 2 is longer than 16777216 bytes/,
  },
  {
    name: 'a.jsonl',
    before: '{"text":"',
    afterwards: '"}\n',
    reason: 'SourceInvalid',
    message: /a\.jsonl as JSONL: .*maximum_object_size/,
  },
  { name: 'a.txt', before: '', afterwards: '\n', reason: 'NothingFits', message: /read 1, tooLong 1; 0 left/ },
]
for (const { name, before, afterwards, reason, message } of long)
  test(`a line of 100 MB in ${name} ends in words, not in a dead process`, async () => {
    const path = await longLine(name, before, afterwards)
    await assert.rejects(preparePath(path), { reason, message })
    await rm(path)
  })

test('embedded line breaks, doubled quotes and NUL bytes are read as they are meant', async () => {
  const text = `${first.slice(0, 60)}\0\n"quoted", and\r\n${second}`
  const { texts } = await prepareFile('a.csv', `id,text\r\n1,"${text.replaceAll('"', '""')}"\r\n`)
  assert.deepEqual(texts, [text.replaceAll('\0', '').replaceAll('\r\n', '\n')])
})

test('a column of numbers is too short to be text, and says so', async () => {
  const rows = Array.from({ length: 50 }, (_, i) => JSON.stringify({ text: i * 1.5 })).join('\n')
  await assert.rejects(prepareFile('a.jsonl', rows), { reason: 'NothingFits', message: /read 50, tooShort 50; 0 left/ })
})

test('ten thousand identical texts are one', async () => {
  const content = csv([['text'], ...Array.from({ length: 10_000 }, () => [first])])
  const { result, texts } = await prepareFile('a.csv', content)
  assert.deepEqual(texts, [first])
  assert.deepEqual([result.counts?.read, result.counts?.exactDuplicates], [10_000, 9999])
  const near = await prepareFile('a.csv', content, {
    deduplication: { exact: false, nearThreshold: 0.85, shingleWords: 5 },
  })
  assert.deepEqual(near.texts, [first])
  assert.equal(near.result.counts?.nearDuplicates, 9999)
})

test('a full disk is StorageFull, and the same claim grown is enough', async () => {
  const disk = await smallDisk(6 << 20)
  try {
    const folder = await freshFolder()
    const rows = Array.from({ length: 20_000 }, (_, i) => [machineText(i, 40)])
    await writeFile(join(folder, 'a.csv'), csv([['text'], ...rows]))
    const config = configOf([{ filePath: join(folder, 'a.csv') }])
    await writeFile(join(folder, 'config.json'), JSON.stringify(PrepareConfig.toJSON(config)))
    const main = fileURLToPath(new URL('../main.ts', import.meta.url))
    const log = join(folder, 'log')
    const args = [
      main,
      'prepare',
      '--config',
      join(folder, 'config.json'),
      '--data',
      disk.inside,
      '--termination-log',
      log,
    ]
    const [nsenter, mount] = disk.enter
    const attempt = async () => {
      const env = { ...process.env, POD_UID: 'pod-1' }
      const ended = spawnSync(nsenter, [mount, process.execPath, ...args], { env, encoding: 'utf8' })
      return { status: ended.status, result: JSON.parse(await readFile(log, 'utf8')) }
    }
    const full = await attempt()
    assert.deepEqual([full.status, full.result.reason], [exitCodes.StorageFull, 'StorageFull'], full.result.message)
    disk.grow(200 << 20)
    const { status, result } = await attempt()
    assert.equal(status, 0, JSON.stringify(result))
    assert.equal(result.preparation.digest, (await prepare(config, contextOf(await freshFolder()))).digest)
  } finally {
    await disk.remove()
  }
})
