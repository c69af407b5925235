import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import { type DatasetOptions, writeDataset } from '../../test/fixtures/dataset.ts'
import { openModel } from '../model/open.ts'
import { hexOf } from '../storage/digest.ts'
import type { CheckedConfig } from './configuration.ts'
import { openDataset } from './dataset.ts'
import { type Plan, planRun } from './plan.ts'

const opened = await openModel(fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url)))
const folder = mkdtempSync(join(tmpdir(), 'plan-'))
after(() => rmSync(folder, { recursive: true }))

const training = {
  epochs: 1,
  learningRate: 1e-3,
  learningRateSchedule: 'Constant',
  microBatchSize: 2,
  gradientAccumulation: 2,
  maxSequenceLength: 200,
  packing: true,
  seed: 42,
}
async function plan(
  dataset: DatasetOptions,
  change: Partial<typeof training> = {},
  { backend = 'CPU' as 'CPU' | 'CUDA', evaluation = {} } = {},
): Promise<Plan> {
  const dataDir = mkdtempSync(join(folder, 'claim-'))
  const digest = await writeDataset(dataDir, dataset)
  const config = TrainConfig.fromPartial({
    training: { ...training, ...change },
    evaluation: { everySteps: 10, maxExamples: 4, ...evaluation },
  }) as CheckedConfig
  const found = await openDataset(join(dataDir, 'datasets', hexOf(digest)), digest)
  const work = { signal: new AbortController().signal, beat: () => {} }
  return planRun(config, found, opened, { templateDate: '26 Jul 2024', backend }, work)
}

const short = 'The cat sat by the door and waited for the rain.'
/** Fits no sequence of 200 tokens. */
const long = `It went on ${'and on '.repeat(120)}for ever.`
const texts = Array.from({ length: 12 }, (_, i) => `${short} It waited ${i} days.`)

test('without packing every text is a sequence of its own, with it they share one', async () => {
  const alone = await plan({ texts }, { packing: false })
  const packed = await plan({ texts })
  const lengths = [...alone.batches(1)].map(({ sequences, documents }) => [sequences.length - 1, documents.length - 1])
  assert.deepEqual(lengths, [
    [2, 2],
    [2, 2],
  ])
  assert.deepEqual([alone.data.examples, alone.schedule.totalSteps, alone.examplesPerStep], [11, 3, 11 / 3])
  assert.ok(packed.schedule.totalSteps < 3 && packed.examplesPerStep > 4)
  assert.ok(packed.data.packingEfficiency > alone.data.packingEfficiency)
})

const many = Array.from({ length: 40 }, (_, i) => `${short} It waited ${i} days.`)
const losses = [
  // One sentence in 28, and a third of the text.
  {
    lost: 'a third of its text in one long sentence',
    texts: [...many, long],
    warns: /^33\.\d % of the text was dropped/,
  },
  { lost: 'little of its text', texts: [...Array(10).fill(many).flat(), long], warns: undefined },
]
for (const { lost, texts, warns } of losses)
  test(`a plan that loses ${lost} ${warns ? 'warns' : 'does not warn'}`, async () => {
    const { data, warnings } = await plan({ texts, validationEvery: 3 })
    assert.equal(data.dropped, 1)
    if (warns === undefined) assert.deepEqual(warnings, [])
    else assert.match(warnings.join(), warns)
  })

const unmeasurable: { validation: string; dataset: DatasetOptions }[] = [
  { validation: 'no text', dataset: { texts, validationEvery: 0 } },
  { validation: 'no text that fits', dataset: { texts: [long, ...texts], validationEvery: 100 } },
]
for (const { validation, dataset } of unmeasurable)
  test(`a dataset with ${validation} in validation is NoValidation unless the user wants none`, async () => {
    await assert.rejects(plan(dataset), {
      reason: 'NoValidation',
      message: /no validation text that fits 200 tokens, with split\.trainPercent 92; expected two clusters/,
    })
    const wanted = await plan({ ...dataset, trainPercent: 100 })
    assert.equal(wanted.evaluation, undefined)
    assert.ok(wanted.warnings.some((warning) => warning.includes('nothing is evaluated')))
  })

test('trap 10: a dataset of which nothing fits is NothingFits', async () => {
  await assert.rejects(plan({ texts: [long, long] }), { reason: 'NothingFits' })
})

test('Identity is also measured as human text under the denoise prompt, and warned of; Denoise is that itself', async () => {
  const identity = await plan({ texts, sample: 'Identity' })
  const { own, human } = identity.evaluation!
  assert.deepEqual(
    own.examples.map(({ id }) => id),
    human!.examples.map(({ id }) => id),
  )
  assert.ok(own.examples[0]!.labelTokens > human!.examples[0]!.labelTokens, 'Identity learns its input too')
  assert.ok(identity.warnings.some((warning) => warning.includes('follow humanLoss')))
  const denoise = await plan({ texts })
  assert.equal(denoise.evaluation!.human, undefined)
  assert.deepEqual(denoise.warnings, [])
})

test('unless the user says how much, 16 texts are written for and 5,000 tokens measured on a CPU, 500 and 50,000 on a GPU', async () => {
  const held = { texts: many, validationEvery: 2 }
  const amounts = async (...given: Parameters<typeof plan>) => {
    const { asked, questions } = await plan(...given)
    return [asked.samples, asked.maxTokens, questions.samples.length]
  }
  assert.deepEqual(await amounts(held), [16, 5_000, 16])
  assert.deepEqual(await amounts(held, {}, { backend: 'CUDA' }), [500, 50_000, 20])
  const evaluation = { samples: 3, maxTokens: 100 }
  assert.deepEqual(await amounts(held, {}, { backend: 'CUDA', evaluation }), [3, 100, 3])
})
