import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { DataCounts, PrepareConfig } from '#proto/humanizer/trainer/v1/preparation.ts'
import { freshFolders } from '../../test/fixtures/fresh-folders.ts'
import { csv, machineText, prose } from '../../test/fixtures/sources.ts'
import { prepare } from './prepare.ts'
import { configOf, contextOf } from './preparing.ts'

const freshFolder = await freshFolders('stages-')

/** Each third text has two near copies; enough that every stage takes a while. */
const texts = Array.from({ length: 4000 }, (_, i) => {
  const first = i - (i % 3)
  return `${machineText(first, 100)} ${prose[first % 500]} The end of number ${i}.`
})
const source = join(await freshFolder(), 'a.csv')
await writeFile(source, csv([['text'], ...texts.map((text) => [text])]))
const usual = configOf([{ filePath: source }])
const whole = await prepare(usual, contextOf(await freshFolder()))
assert.ok((whole.counts?.nearDuplicates ?? 0) > 2000)

const main = fileURLToPath(new URL('../main.ts', import.meta.url))
const workOf = (dataDir: string): string => join(dataDir, 'datasets', '.work', 'dataset-1')
const sealedStages = (dataDir: string): string[] =>
  globSync(join(workOf(dataDir), 'stages', '*', '*', 'manifest.json')).map((path) => path.split('/').at(-2) as string)

/** `prepare` in a process of its own. */
async function start(dataDir: string, config = usual) {
  const path = join(dataDir, 'config.json')
  await writeFile(path, JSON.stringify(PrepareConfig.toJSON(config)))
  const args = [main, 'prepare', '--config', path, '--data', dataDir, '--termination-log', join(dataDir, 'log')]
  const child = spawn(process.execPath, args, {
    env: { ...process.env, POD_UID: 'pod-1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let log = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (log += text))
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  return { child, ended, log: () => log }
}

const moments = [
  {
    moment: 'while it reads',
    kept: [],
    isNow: (work: string) => globSync(join(work, 'attempt-*', 'texts-0-0', '*')).length > 0,
  },
  {
    moment: 'after the texts',
    kept: ['texts-0-0'],
    isNow: (work: string) => globSync(join(work, 'stages/*/texts-0-0/manifest.json')).length > 0,
  },
  {
    moment: 'after the clusters',
    kept: ['clusters', 'texts-0-0'],
    isNow: (work: string) => globSync(join(work, 'stages/*/clusters/manifest.json')).length > 0,
  },
  {
    moment: 'while it writes',
    kept: ['clusters', 'texts-0-0'],
    isNow: (work: string) => globSync(join(work, 'attempt-*', 'output', '*')).length > 0,
  },
]
for (const { moment, kept, isNow } of moments)
  test(`killed ${moment}, the next attempt goes on there to the same digest`, async () => {
    const dataDir = await freshFolder()
    const first = await start(dataDir)
    while (!isNow(workOf(dataDir))) {
      assert.equal(first.child.exitCode, null, first.log())
      await sleep(2)
    }
    first.child.kill('SIGKILL')
    await first.ended
    const found = sealedStages(dataDir).sort()
    for (const stage of kept) assert.ok(found.includes(stage), `${found}`)
    assert.ok(!existsSync(join(dataDir, whole.location)))

    const second = await start(dataDir)
    await second.ended
    const { preparation } = JSON.parse(await readFile(join(dataDir, 'log'), 'utf8'))
    assert.equal(preparation.digest, whole.digest, second.log())
    assert.deepEqual(DataCounts.fromJSON(preparation.counts), whole.counts)
    for (const stage of ['texts-0-0', 'clusters'])
      assert.equal(second.log().includes(`"stage":"${stage}"`), found.includes(stage), `${stage}: ${second.log()}`)
    assert.deepEqual(await readdir(workOf(dataDir)), [])
  })

test('a source that changed between two attempts, and another spec, take nothing from the stages before', async () => {
  const dataDir = await freshFolder()
  const path = join(dataDir, 'a.csv')
  await writeFile(path, await readFile(source))
  const first = await start(dataDir, configOf([{ filePath: path }]))
  while (sealedStages(dataDir).length === 0) await sleep(2)
  first.child.kill('SIGKILL')
  await first.ended
  const changed = `${await readFile(source, 'utf8')}"${machineText(123_456, 90)}"\n`
  await writeFile(path, changed)
  const result = await prepare(configOf([{ filePath: path }]), contextOf(dataDir))
  assert.equal(result.counts?.read, texts.length + 1)
})

test('a damaged stage is made again', async () => {
  const dataDir = await freshFolder()
  const first = await start(dataDir)
  while (!sealedStages(dataDir).includes('clusters')) await sleep(2)
  first.child.kill('SIGKILL')
  await first.ended
  const [clusters] = globSync(join(workOf(dataDir), 'stages', '*', 'clusters', 'clusters.u32'))
  const bytes = await readFile(clusters as string)
  bytes[0]! ^= 1
  await writeFile(clusters as string, bytes)
  assert.equal((await prepare(usual, contextOf(dataDir))).digest, whole.digest)
})

test('the same bytes come of any number of threads', async () => {
  for (const threads of [1, 2, 3]) {
    const { digest } = await prepare(usual, { ...contextOf(await freshFolder()), threads })
    assert.equal(digest, whole.digest, `${threads} threads`)
  }
})
