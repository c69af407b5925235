import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Logger, pino } from 'pino'
import { TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import { writeDataset } from '../../test/fixtures/dataset.ts'
import { openModel } from '../model/open.ts'
import { hexOf } from '../storage/digest.ts'
import type { CheckedConfig } from './configuration.ts'
import { openDataset } from './dataset.ts'
import { planRun } from './plan.ts'

const opened = await openModel(fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url)))
const claim = mkdtempSync(join(tmpdir(), 'tokenized-'))
after(() => rmSync(claim, { recursive: true }))
const digest = await writeDataset(claim, { sample: 'Identity' })
const directory = join(claim, 'datasets', hexOf(digest))

const usual = { maxSequenceLength: 200, packing: true, seed: 42 }

/** Plans a run and answers with its batches, and with what the log said of each part. */
async function plan(change: Partial<typeof usual> = {}, base = opened, templateDate = '26 Jul 2024') {
  const said: { msg: string; part: string; cached?: boolean; err?: { message: string } }[] = []
  const log: Logger = pino({}, { write: (line) => void said.push(JSON.parse(line)) })
  const training = {
    ...usual,
    ...change,
    epochs: 1,
    learningRateSchedule: 'Constant',
    microBatchSize: 2,
    gradientAccumulation: 2,
  }
  const config = TrainConfig.fromPartial({ training, evaluation: { everySteps: 10, maxExamples: 4 } }) as CheckedConfig
  const work = { signal: new AbortController().signal, beat: () => {}, log }
  const { batches, schedule, evaluation, data } = await planRun(
    config,
    await openDataset(directory, digest),
    base,
    { templateDate, backend: 'CPU' },
    work,
  )
  const steps = Array.from({ length: schedule.totalSteps }, (_, step) => [...batches(step + 1)])
  return {
    plan: { steps, evaluation, data },
    cached: Object.fromEntries(said.flatMap(({ part, cached }) => (cached === undefined ? [] : [[part, cached]]))),
    problems: said.flatMap(({ err }) => (err ? [err.message] : [])),
  }
}

const folders = (): string[] => readdirSync(join(directory, 'tokenized')).sort()
const all = (cached: boolean) => ({ train: cached, validation: cached, human: cached })

test('a second run over the same dataset, tokenizer and length starts from the tokens of the first, to the same batches', async () => {
  const first = await plan()
  assert.deepEqual(first.cached, all(false))
  assert.equal(folders().length, 3)
  const second = await plan()
  assert.deepEqual(second.cached, all(true))
  assert.deepEqual(second.plan, first.plan)
  assert.deepEqual([...first.problems, ...second.problems], [])
  // The dataset is whole without and with them.
  assert.equal((await openDataset(directory, digest)).digest, digest)
})

for (const change of [{ maxSequenceLength: 180 }, { seed: 43 }, { packing: false }])
  test(`${JSON.stringify(change)} is not taken from the cache of another`, async () => {
    const { cached } = await plan(change)
    assert.equal(cached.train, false)
  })

test('the tokens of another tokenizer, of other ends of a turn and of another day are not taken', async () => {
  const spaced = join(claim, 'tokenizer.json')
  const files = opened.files.map((file) => (file.name === 'tokenizer.json' ? { ...file, path: spaced } : file))
  writeFileSync(spaced, `${readFileSync(opened.files.find(({ name }) => name === 'tokenizer.json')!.path, 'utf8')}\n`)
  const { generation } = opened
  const endOfTurnIds = [...generation.endOfTurnIds, 5]
  const others = [
    { ...opened, files },
    { ...opened, generation: { ...generation, endOfTurnIds } },
  ]
  for (const base of others) {
    assert.equal((await plan({}, base)).cached.train, false)
    assert.equal((await plan({}, base)).cached.train, true)
  }
  assert.equal((await plan({}, opened, '27 Jul 2024')).cached.train, false)
})

test('a damaged shard is made again', async () => {
  const { plan: want } = await plan()
  const damaged = folders().map((name) => join(directory, 'tokenized', name, 'tokens-00000.i32'))
  for (const path of damaged) {
    const bytes = readFileSync(path)
    bytes[0]! ^= 1
    writeFileSync(path, bytes)
  }
  const again = await plan()
  assert.deepEqual(again.cached, all(false))
  assert.equal(again.problems.length, 3)
  assert.match(again.problems[0] as string, /tokens-00000\.i32 has sha256 .*; the manifest says/)
  assert.deepEqual(again.plan, want)
  assert.deepEqual((await plan()).cached, all(true))
})

test('without a place to write the run goes on with what it has', async () => {
  const { plan: want } = await plan()
  rmSync(join(directory, 'tokenized'), { recursive: true })
  writeFileSync(join(directory, 'tokenized'), '')
  const { plan: got, cached, problems } = await plan()
  assert.deepEqual(got, want)
  assert.deepEqual(cached, all(false))
  assert.match(problems[0] as string, /ENOTDIR|EEXIST/)
  rmSync(join(directory, 'tokenized'))
})
