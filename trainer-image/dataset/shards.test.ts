import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { type PreparationResult, PrepareConfig } from '#proto/humanizer/trainer/v1/preparation.ts'
import { csv, machineText, prose } from '../../test/fixtures/sources.ts'
import { buildDataset } from './build.ts'
import { prepare } from './prepare.ts'
import { configOf, contextOf, parquetOf, surroundingsOf } from './preparing.ts'
import type { Progress } from './progress.ts'
import { settingsOf } from './settings.ts'
import { type WorkFolder, workFolderOf } from './work-folder.ts'

const root = await mkdtemp(join(tmpdir(), 'shards-'))
after(() => rm(root, { recursive: true, force: true }))

const FILES = 2
const ROWS = 240
/** What one shard says depends on those before it: exact and near copies, groups, pairs, labels, and texts that rules remove. */
const rowOf = (i: number): readonly string[] => {
  const same = i % 7 >= 5 && i > 150 ? i - 150 : i
  const text = `${machineText(same, 60)}\n"${prose[same % 90]}"${i % 7 === 6 ? ' And so on.' : ''}`
  const kind = i % 11
  const label = kind === 3 ? 'machine' : kind === 5 && i > ROWS + 100 ? 'either' : 'human'
  const shown = kind === 7 ? 'too short' : kind === 8 ? `Ã© ${text}` : text
  return [shown, kind === 9 ? machineText(5000 + i, 80) : '', `topic ${i % 40}`, label]
}
const folder = join(root, 'source')
await mkdir(folder)
for (let file = 0; file < FILES; file++) {
  const rows = Array.from({ length: ROWS }, (_, i) => rowOf(file * ROWS + i))
  await writeFile(join(folder, `part-${file}.csv`), csv([['text', 'pair', 'topic', 'label'], ...rows]))
}
/** Three row groups; its texts are short, and every second one is in the file before. */
const parquet = join(root, 'a.parquet')
const inParquet = Array.from({ length: 4200 }, (_, i) => ({
  text: `${i % 2 ? i - 900 : i} ${prose[(i % 2 ? i - 900 : i + 2) % 300]?.slice(0, 90)}`,
  label: ['human', 'machine', 'other'][i % 3] as string,
}))
await parquetOf(parquet, inParquet, 2048)
const byLabel = { policy: 'Matching', column: 'label' } as const
const config = configOf(
  [
    { filePath: join(folder, 'part-0.csv') },
    {
      filePath: folder,
      inputColumn: 'pair',
      groupColumn: 'topic',
      keep: { ...byLabel, values: ['human', 'either'] },
    },
    { filePath: parquet, keep: { ...byLabel, values: ['human'] }, limit: 4150 },
    { filePath: parquet, keep: { policy: 'All', column: '', values: [] } },
  ],
  { format: { sample: 'Paired', systemPrompt: 'system', userTemplate: 'Rewrite: {text}', chatTemplate: '' } },
)
const wholeIn = join(root, 'whole')
await mkdir(wholeIn)
const whole = await prepare(config, contextOf(wholeIn))
const reportOf = async (data: string): Promise<unknown> =>
  JSON.parse(await readFile(join(data, whole.location, 'report.json'), 'utf8'))

const shardsIn = (work: WorkFolder): string[] =>
  globSync(join(work.stages, '*', 'texts-*', 'manifest.json')).map((path) => basename(dirname(path)))

/** Dies behind the middle of the second source's second file: two files and parts of this one are finished. */
const program = `
import { buildDataset } from ${JSON.stringify(new URL('build.ts', import.meta.url).href)}
import { surroundingsOf } from ${JSON.stringify(new URL('preparing.ts', import.meta.url).href)}
import { settingsOf } from ${JSON.stringify(new URL('settings.ts', import.meta.url).href)}
import { PrepareConfig } from ${JSON.stringify(import.meta.resolve('#proto/humanizer/trainer/v1/preparation.ts'))}
const [config, work, dataDir] = process.argv.slice(1)
const settings = settingsOf(PrepareConfig.fromJSON(JSON.parse(config)))
const around = await surroundingsOf(dataDir, JSON.parse(work), ({ source, rows }) => {
  if (source === 's1' && rows > ${1.75 * ROWS}) process.kill(process.pid, 'SIGKILL')
})
await buildDataset(settings, JSON.parse(work), { ...around, shardBytes: 1 })
`

test('killed in the middle of a file, the next attempt reads none of the finished ones again, to the same bytes and report', async () => {
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
  const shards = shardsIn(work)
  assert.ok(shards.includes('texts-2-0'), `${shards}`)
  const rows = shards.filter((name) => name.startsWith('texts-2-')).map((name) => Number(name.split('-').at(-1)))
  const finished = ROWS + Math.max(...rows)
  assert.ok(finished > ROWS)

  await rm(work.attempt, { recursive: true, force: true })
  const read: Progress[] = []
  const around = await surroundingsOf(dataDir, work, (progress) => {
    if (progress.stage === 'Cleaning') read.push(progress)
  })
  const resumed = await buildDataset(settings, work, { ...around, shardBytes: 1 })
  // The first rows that are heard of are behind the finished ones.
  assert.equal(read[0]?.source, 's1')
  assert.ok((read[0]?.rows ?? 0) > finished, `${read[0]?.rows}`)
  assert.equal(resumed.digest, whole.digest)
  assert.deepEqual(resumed.counts, whole.counts)
  assert.deepEqual(await reportOf(dataDir), await reportOf(wholeIn))
})

test('stopped after each shard, within files of CSV and Parquet too, to the same bytes and report', async () => {
  const dataDir = join(root, 'stopped')
  await mkdir(dataDir)
  const settings = settingsOf(config)
  const work = workFolderOf(join(dataDir, 'datasets'), settings.ownerUid, 'pod-1')
  const attempt = async () => {
    const before = shardsIn(work).length
    const stop = new AbortController()
    const around = await surroundingsOf(dataDir, work, () => {
      if (shardsIn(work).length > before) stop.abort()
    })
    return buildDataset(settings, work, { ...around, signal: stop.signal, shardBytes: 130_000 }).catch((error) => {
      if (!stop.signal.aborted) throw error
      return undefined
    })
  }
  const names = new Set<string>()
  let result: PreparationResult | undefined
  while (result === undefined) {
    const before = names.size
    result = await attempt()
    for (const name of shardsIn(work)) names.add(name)
    await rm(work.attempt, { recursive: true, force: true })
    assert.ok(result || names.size === before + 1, `${[...names]}`)
  }
  for (const begin of [/^texts-0-[1-9]/, /^texts-2-[1-9]/, /^texts-3-2048$/, /^texts-4-2048$/])
    assert.ok(
      [...names].some((name) => begin.test(name)),
      `${begin} among ${[...names]}`,
    )
  assert.equal(result.digest, whole.digest)
  assert.deepEqual(result.counts, whole.counts)
  assert.deepEqual(await reportOf(dataDir), await reportOf(wholeIn))
})
