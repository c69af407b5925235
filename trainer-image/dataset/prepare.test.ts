import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { PrepareConfig } from '#proto/humanizer/trainer/v1/preparation.ts'
import { freshFolders } from '../../test/fixtures/fresh-folders.ts'
import { jsonl, prose, proseFile } from '../../test/fixtures/sources.ts'
import { JobFailure } from '../job/failure.ts'
import { verifySealed } from '../storage/sealed.ts'
import { corrupt } from './denoise.ts'
import { prepare } from './prepare.ts'
import { type Change, configOf, contextOf, type Row, rowsOf } from './preparing.ts'
import { randomOf } from './random.ts'

const freshFolder = await freshFolders('prepare-')

const rowsOfTexts = (texts: readonly string[]): string => jsonl(texts.map((text) => ({ text })))

async function source(texts: readonly string[]): Promise<string> {
  const path = join(await freshFolder(), 'source.jsonl')
  await writeFile(path, rowsOfTexts(texts))
  return path
}

/** A copy with every 40th word changed: J of its 5-word shingles is about (1 − 5/40)/(1 + 5/40) = 0.78. */
const edited = (text: string, every: number): string =>
  text
    .split(' ')
    .map((word, i) => (i % every === every - 1 ? `${word}ish` : word))
    .join(' ')

test('prose with planted copies becomes a sealed dataset whose counts add up', async () => {
  const long = prose.filter((text) => text.split(' ').length > 120)
  const exact = prose.slice(0, 20).map((text) => ` ${text.toUpperCase()}\t`)
  const near = long.slice(0, 20).map((text) => edited(text, 100))
  const apart = long.slice(20, 40).map((text) => edited(text, 12))
  const second = [...exact, ...near, ...apart, 'Too short.']
  const dataDir = await freshFolder()
  const result = await prepare(
    configOf([{ filePath: proseFile }, { filePath: await source(second) }]),
    contextOf(dataDir),
  )

  assert.deepEqual(result.sources[0]?.counts, {
    ...zero,
    read: 600,
    train: result.sources[0]?.counts?.train,
    validation: result.sources[0]?.counts?.validation,
  })
  const { exactDuplicates, nearDuplicates, crossSourceDuplicates, tooShort, read } = result.sources[1]?.counts ?? zero
  assert.deepEqual(
    { exactDuplicates, nearDuplicates, crossSourceDuplicates, tooShort, read },
    { exactDuplicates: 20, nearDuplicates: 20, crossSourceDuplicates: 40, tooShort: 1, read: 61 },
  )
  assert.equal(result.counts?.train, 589)
  assert.equal(result.counts?.validation, 31)

  const manifest = await verifySealed(join(dataDir, result.location))
  assert.equal(manifest.digest, result.digest)
  assert.equal(result.location, `datasets/${result.digest.slice(7)}`)
  assert.deepEqual(
    (await readdir(join(dataDir, 'datasets'))).sort(),
    ['.work', 'by-spec', result.digest.slice(7)].sort(),
  )
  const train = await rowsOf(dataDir, result.location, 'train')
  const validation = await rowsOf(dataDir, result.location, 'validation')
  assert.equal(train.length, 589)
  assert.equal(validation.length, 31)
  for (const row of [...train, ...validation]) {
    assert.deepEqual(Object.keys(row), ['id', 'source', 'revision', 'license', 'cluster', 'kind', 'input', 'target'])
    assert.equal(row.kind, 'Denoise')
    assert.equal(row.license, 'CC0-1.0')
    assert.equal(row.input, corrupt(row.target as string, 42, row.id as string))
  }
  const description = JSON.parse(await readFile(join(dataDir, result.location, 'dataset.json'), 'utf8'))
  assert.deepEqual(description, {
    version: 1,
    format: { sample: 'Denoise', systemPrompt: 'system', userTemplate: 'Rewrite: {text}' },
    specHash: 'spec-1',
    split: { trainPercent: 95, seed: 42 },
  })
  const report = await readFile(join(dataDir, result.location, 'report.md'), 'utf8')
  assert.ok(report.includes(result.summary))
  assert.match(report, /Denoise, 620 examples: [6-9]\d\.\d % of the words/)
  assert.match(report, /\| s1 \| 61 \| 0 \| 1 \| 0 \| 0 \| 0 \| 0 \| 20 \| 20 \|/)
})

const zero = {
  read: 0,
  notHuman: 0,
  tooShort: 0,
  tooLong: 0,
  tooFewWords: 0,
  contaminated: 0,
  otherLanguage: 0,
  exactDuplicates: 0,
  nearDuplicates: 0,
  train: 0,
  validation: 0,
  crossSourceDuplicates: 0,
}

test('the same spec on another volume gives the same bytes, another seed or sample another digest', async () => {
  const digestOf = async (change: Change) =>
    (await prepare(configOf([{ filePath: proseFile }], change), contextOf(await freshFolder()))).digest
  const once = await digestOf({})
  assert.equal(await digestOf({}), once)
  assert.notEqual(await digestOf({ split: { trainPercent: 95, seed: 43 } }), once)
  assert.notEqual(
    await digestOf({ format: { sample: 'Identity', systemPrompt: 'system', userTemplate: '{text}' } }),
    once,
  )
})

test('identity gives the text as its own input', async () => {
  const dataDir = await freshFolder()
  const format = { sample: 'Identity', systemPrompt: '', userTemplate: '{text}' }
  const { location } = await prepare(configOf([{ filePath: proseFile }], { format }), contextOf(dataDir))
  for (const row of await rowsOf(dataDir, location, 'train')) assert.equal(row.input, row.target)
})

test("a chat template of the user's is part of what is prepared", async () => {
  const dataDir = await freshFolder()
  const format = { sample: 'Identity', systemPrompt: '', userTemplate: '{text}', chatTemplate: '{{ messages }}' }
  const { location } = await prepare(configOf([{ filePath: proseFile }], { format }), contextOf(dataDir))
  assert.deepEqual(JSON.parse(await readFile(join(dataDir, location, 'dataset.json'), 'utf8')).format, format)
})

test('what is sealed is returned without being prepared again; what is damaged is prepared again', async () => {
  const dataDir = await freshFolder()
  const path = await source(prose)
  const first = await prepare(configOf([{ filePath: path }]), contextOf(dataDir))
  await rm(path)
  assert.deepEqual(await prepare(configOf([{ filePath: path }]), contextOf(dataDir)), first)
  await truncate(join(dataDir, first.location, 'train.parquet'), 100)
  await assert.rejects(prepare(configOf([{ filePath: path }]), contextOf(dataDir)), { reason: 'NotFound' })
  await writeFile(path, rowsOfTexts(prose))
  assert.deepEqual(await prepare(configOf([{ filePath: path }]), contextOf(dataDir)), first)
  await verifySealed(join(dataDir, first.location))
})

test('no cluster of copies crosses the split, whatever is planted, when duplicates are kept', async () => {
  for (let seed = 0; seed < 5; seed++) {
    const random = randomOf(seed, 'copies')
    const rows = Array.from({ length: 300 }, () => prose[Math.floor(random() * 60)] as string)
    const dataDir = await freshFolder()
    const change = {
      deduplication: { exact: false, nearThreshold: 0, shingleWords: 5 },
      split: { trainPercent: 70, seed },
    }
    const { location, counts } = await prepare(configOf([{ filePath: await source(rows) }], change), contextOf(dataDir))
    assert.equal((counts?.train ?? 0) + (counts?.validation ?? 0), 300)
    const train = new Set((await rowsOf(dataDir, location, 'train')).map(({ target }) => target))
    const validation = await rowsOf(dataDir, location, 'validation')
    assert.ok(validation.length > 0)
    for (const { target } of validation) assert.ok(!train.has(target))
  }
})

test('near copies never stand on both sides of the split', async () => {
  const near = prose.filter((text) => text.split(' ').length > 120).map((text) => edited(text, 100))
  const dataDir = await freshFolder()
  const { location } = await prepare(
    configOf([{ filePath: await source([...prose, ...near]) }], { split: { trainPercent: 50, seed: 1 } }),
    contextOf(dataDir),
  )
  const stems = (rows: readonly Row[]) => rows.map(({ target }) => (target as string).slice(0, 60))
  const train = new Set(stems(await rowsOf(dataDir, location, 'train')))
  for (const stem of stems(await rowsOf(dataDir, location, 'validation'))) assert.ok(!train.has(stem), stem)
})

test('SIGTERM stops a preparation between two pieces and leaves nothing that counts', async () => {
  const dataDir = await freshFolder()
  const stop = new AbortController()
  const many = await source(Array.from({ length: 20_000 }, (_, i) => `${prose[0]} ${i}`))
  const running = prepare(configOf([{ filePath: many }]), contextOf(dataDir, stop.signal))
  setTimeout(() => stop.abort(new JobFailure('Stopped', 'SIGTERM')), 150)
  await assert.rejects(running, { reason: 'Stopped' })
  assert.deepEqual(await readdir(join(dataDir, 'datasets')), ['.work'])
})

test('a preparation that lost its lock leaves the work of the next holder alone, and stale work is swept', async () => {
  const dataDir = await freshFolder()
  const hanging = createServer(() => {}).listen(0, '127.0.0.1')
  await once(hanging, 'listening')
  const { port } = hanging.address() as AddressInfo
  const http = { url: `http://127.0.0.1:${port}/a.csv`, sha256: '0'.repeat(64) }
  const losing = prepare(configOf([{ http }]), contextOf(dataDir))
  const root = join(dataDir, 'datasets', '.work', 'dataset-1')
  const held = join(root, 'writer.lock')
  while (!(await readdir(root).catch(() => [])).some((name) => name.startsWith('attempt'))) await sleep(5)
  await writeFile(held, JSON.stringify({ podUid: 'pod-2', beat: 0 }))
  const theirs = [join(root, 'attempt', 'spool'), join(root, 'attempt-pod-2', 'spool'), join(root, 'downloads', 'file')]
  for (const path of theirs) {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, 'x')
  }
  await assert.rejects(losing, { code: 'FOLDER_LOCKED' })
  hanging.close()
  hanging.closeAllConnections()
  for (const path of theirs) assert.equal(await readFile(path, 'utf8'), 'x')
  assert.deepEqual((await readdir(root)).sort(), ['attempt', 'attempt-pod-2', 'downloads', 'writer.lock'])
  await rm(held)
  await prepare(configOf([{ filePath: proseFile }]), { ...contextOf(dataDir), podUid: 'pod-3' })
  assert.deepEqual(await readdir(root), [])
})

test('a preparation killed at any moment is followed by one that gives the same bytes and sweeps what was left', async () => {
  const path = await source(Array.from({ length: 4000 }, (_, i) => edited(prose[i % 600] as string, 3 + (i % 50))))
  const want = await prepare(configOf([{ filePath: path }]), contextOf(await freshFolder()))
  const dataDir = await freshFolder()
  const config = join(dataDir, 'config.json')
  await writeFile(config, JSON.stringify(PrepareConfig.toJSON(configOf([{ filePath: path }]))))
  const main = fileURLToPath(new URL('../main.ts', import.meta.url))
  for (const milliseconds of [700, 1000, 1300, 1700]) {
    const args = [main, 'prepare', '--config', config, '--data', dataDir, '--termination-log', join(dataDir, 'log')]
    const child = spawn(process.execPath, args, { env: { ...process.env, POD_UID: 'pod-1' }, stdio: 'ignore' })
    const ended = new Promise((resolve) => child.on('exit', resolve))
    setTimeout(() => child.kill('SIGKILL'), milliseconds)
    await ended
  }
  assert.deepEqual(await prepare(configOf([{ filePath: path }]), contextOf(dataDir)), want)
  assert.deepEqual((await readdir(join(dataDir, 'datasets'))).sort(), ['.work', 'by-spec', want.digest.slice(7)].sort())
  assert.deepEqual(await readdir(join(dataDir, 'datasets', '.work', 'dataset-1')), [])
})
