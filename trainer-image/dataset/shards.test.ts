import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { PrepareConfig } from '#proto/humanizer/trainer/v1/preparation.ts'
import { csv, machineText, prose } from '../../test/fixtures/sources.ts'
import { buildDataset } from './build.ts'
import { shardsOf } from './collect-texts.ts'
import { prepare } from './prepare.ts'
import { configOf, contextOf, surroundingsOf } from './preparing.ts'
import type { Progress } from './progress.ts'
import { settingsOf } from './settings.ts'
import { workFolderOf } from './work-folder.ts'

const root = await mkdtemp(join(tmpdir(), 'shards-'))
after(() => rm(root, { recursive: true, force: true }))

const FILES = 6
const ROWS = 120
/** What one file says depends on those before it: exact and near copies, groups, pairs, labels, and texts that rules remove. */
const rowOf = (i: number): readonly string[] => {
  const same = i % 7 >= 5 && i > 250 ? i - 250 : i
  const text = `${machineText(same, 60)} ${prose[same % 90]}${i % 7 === 6 ? ' And so on.' : ''}`
  const kind = i % 11
  const label = kind === 3 ? 'machine' : kind === 5 && i > 3 * ROWS ? 'either' : 'human'
  const shown = kind === 7 ? 'too short' : kind === 8 ? `Ã© ${text}` : text
  return [shown, kind === 9 ? machineText(5000 + i, 80) : '', `topic ${i % 40}`, label]
}
const folder = join(root, 'source')
await mkdir(folder)
for (let file = 0; file < FILES; file++) {
  const rows = Array.from({ length: ROWS }, (_, i) => rowOf(file * ROWS + i))
  await writeFile(join(folder, `part-${file}.csv`), csv([['text', 'pair', 'topic', 'label'], ...rows]))
}
const config = configOf(
  [
    { filePath: join(folder, 'part-0.csv') },
    {
      filePath: folder,
      inputColumn: 'pair',
      groupColumn: 'topic',
      keep: { policy: 'Matching', column: 'label', values: ['human', 'either'] },
    },
  ],
  { format: { sample: 'Paired', systemPrompt: 'system', userTemplate: 'Rewrite: {text}', chatTemplate: '' } },
)

test('a shard is whole files, as few as reach the size; the last one is what is left', () => {
  assert.deepEqual(shardsOf([5, 1, 1, 9, 2], 5), [
    { from: 0, to: 1 },
    { from: 1, to: 4 },
    { from: 4, to: 5 },
  ])
  assert.deepEqual(shardsOf([1, 1], 100), [{ from: 0, to: 2 }])
  assert.deepEqual(shardsOf([7], 5), [{ from: 0, to: 1 }])
})

/** Dies when it has read some of the second source's third file: three files are finished. */
const program = `
import { buildDataset } from ${JSON.stringify(new URL('build.ts', import.meta.url).href)}
import { surroundingsOf } from ${JSON.stringify(new URL('preparing.ts', import.meta.url).href)}
import { settingsOf } from ${JSON.stringify(new URL('settings.ts', import.meta.url).href)}
import { PrepareConfig } from ${JSON.stringify(import.meta.resolve('#proto/humanizer/trainer/v1/preparation.ts'))}
const [config, work, dataDir] = process.argv.slice(1)
const settings = settingsOf(PrepareConfig.fromJSON(JSON.parse(config)))
const around = await surroundingsOf(dataDir, JSON.parse(work), ({ source, rows }) => {
  if (source === 's1' && rows > ${2 * ROWS}) process.kill(process.pid, 'SIGKILL')
})
await buildDataset(settings, JSON.parse(work), { ...around, shardBytes: 1 })
`

test('killed in the middle of a file, the next attempt reads none of the finished ones again, to the same bytes and report', async () => {
  const wholeIn = join(root, 'whole')
  await mkdir(wholeIn)
  const whole = await prepare(config, contextOf(wholeIn))
  for (const rule of ['notHuman', 'tooShort', 'exactDuplicates', 'nearDuplicates', 'crossSourceDuplicates'] as const)
    assert.ok((whole.counts?.[rule] ?? 0) > 0, rule)

  const dataDir = join(root, 'killed')
  await mkdir(dataDir)
  const settings = settingsOf(config)
  const work = workFolderOf(join(dataDir, 'datasets'), settings.ownerUid, 'pod-1')
  const args = [
    '--input-type=module',
    '-e',
    program,
    JSON.stringify(PrepareConfig.toJSON(config)),
    JSON.stringify(work),
    dataDir,
  ]
  const { signal } = spawnSync(process.execPath, args, { stdio: 'inherit' })
  assert.equal(signal, 'SIGKILL')
  const shards = globSync(join(work.stages, '*', 'texts-*', 'manifest.json')).map((path) => basename(dirname(path)))
  assert.deepEqual(shards.sort(), ['texts-0', 'texts-1', 'texts-2'])

  await rm(work.attempt, { recursive: true, force: true })
  const read: Progress[] = []
  const around = await surroundingsOf(dataDir, work, (progress) => {
    if (progress.stage === 'Cleaning') read.push(progress)
  })
  const resumed = await buildDataset(settings, work, { ...around, shardBytes: 1 })
  // The first row that is heard of is behind the finished files.
  assert.ok((read[0]?.rows ?? 0) > 2 * ROWS, `${read[0]?.rows}`)
  assert.equal(resumed.digest, whole.digest)
  assert.deepEqual(resumed.counts, whole.counts)
  const reportOf = async (data: string): Promise<unknown> =>
    JSON.parse(await readFile(join(data, whole.location, 'report.json'), 'utf8'))
  assert.deepEqual(await reportOf(dataDir), await reportOf(wholeIn))
})
