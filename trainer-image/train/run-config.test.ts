import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import { checkConfig } from './configuration.ts'
import type { MemoryPlan } from './memory-plan.ts'
import {
  continuedConfig,
  differences,
  type Environment,
  type RunConfig,
  readRunConfig,
  writeRunConfig,
} from './run-config.ts'
import { formatTrainerState, parseTrainerState } from './trainer-state.ts'

const valid = TrainConfig.fromPartial({
  owner: { namespace: 'n', name: 'r', uid: 'u-1' },
  attempt: 1,
  trust: { publicKey: 'PEM', port: 9443 },
  model: { path: 'models/m', digest: `sha256:${'a'.repeat(64)}`, name: 'm' },
  datasetDigest: `sha256:${'d'.repeat(64)}`,
  datasetPath: 'datasets/d',
  quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true, computeDtype: 'Auto' },
  lora: { rank: 32, alpha: 16, dropout: 0.05 },
  training: {
    epochs: 2,
    learningRate: 1.5e-4,
    learningRateSchedule: 'Cosine',
    warmupRatio: 0.03,
    microBatchSize: 4,
    gradientAccumulation: 4,
    maxSequenceLength: 1024,
    packing: true,
    optimizer: 'AdamW',
    maxGradientNorm: 1,
    seed: 42,
  },
  evaluation: { everySteps: 200, maxExamples: 256 },
  checkpoints: { everySteps: 500, keep: 3 },
  earlyStopping: { patience: 3 },
  logging: { everySteps: 25 },
  backend: 'CPU',
})

test('a whole configuration is accepted', () => assert.equal(checkConfig(valid), valid))

const training = (change: object) => ({ training: { ...valid.training!, ...change } })
const refusals: { words: RegExp; change: Partial<TrainConfig> }[] = [
  { words: /^lora is absent/, change: { lora: undefined } },
  { words: /^lora\.rank is 0; expected a whole number from 1/, change: { lora: { ...valid.lora!, rank: 0 } } },
  { words: /^lora\.dropout is 1;/, change: { lora: { ...valid.lora!, dropout: 1 } } },
  { words: /^training\.learningRate is 0;/, change: training({ learningRate: 0 }) },
  { words: /^training\.microBatchSize is 1\.5;/, change: training({ microBatchSize: 1.5 }) },
  { words: /^training\.optimizer is "SGD"; expected AdamW or AdamW8bit/, change: training({ optimizer: 'SGD' }) },
  { words: /^training\.epochs is 0;/, change: training({ epochs: 0 }) },
  { words: /^datasetPath is "\.\.\/other";/, change: { datasetPath: '../other' } },
  { words: /^datasetDigest is "sha256:abc";/, change: { datasetDigest: 'sha256:abc' } },
  { words: /^owner\.name is "\.\.";/, change: { owner: { ...valid.owner!, name: '..' } } },
  {
    words: /^training\.activationCheckpointing is "Some"; expected Auto, None, Selective, Full or Offload/,
    change: training({ activationCheckpointing: 'Some' }),
  },
  {
    words: /^quantization\.type is "INT4"; expected NF4 or None/,
    change: { quantization: { ...valid.quantization!, type: 'INT4' } },
  },
]
for (const { words, change } of refusals)
  test(`a configuration is refused with ${words}`, () =>
    assert.throws(() => checkConfig({ ...valid, ...change }), { reason: 'ConfigurationInvalid', message: words }))

const environment = {
  threads: 2,
  instructionPath: 'avx2' as const,
  oneDnnVersion: '3.9',
  compiler: 'gcc 12',
  arithmetic: 2,
  node: 'v24',
  microBatchSize: 4,
}
const memory = {
  activationCheckpointing: 'Full',
  reason: 'why',
  items: {} as MemoryPlan['items'],
  total: 1,
  limit: 2,
  textsAtOnce: 1,
} as const
const stored: RunConfig = {
  version: 1,
  config: valid,
  environment,
  templateDate: '1 Jan 2020',
  examplesPerStep: 4.5,
  memory,
}

test('run_config.json holds the run, not the attempt, and reads back', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'config-'))
  assert.equal(await readRunConfig(directory), undefined)
  await writeRunConfig(directory, stored)
  const read = await readRunConfig(directory)
  assert.deepEqual(read?.config.training, valid.training)
  assert.deepEqual([read?.environment, read?.templateDate, read?.examplesPerStep], [environment, '1 Jan 2020', 4.5])
  assert.deepEqual(read?.memory, memory)
  assert.ok(!readFileSync(join(directory, 'run_config.json'), 'utf8').includes('PEM'))
  rmSync(directory, { recursive: true })
})

test('a resume goes by the stored run and takes from the new attempt only its own fields and what is mutable', () => {
  const asked = checkConfig({
    ...valid,
    ...training({ learningRate: 1, microBatchSize: 2, gradientAccumulation: 8 }),
    attempt: 3,
    objective: 'another',
    logging: { everySteps: 5, tensorBoard: true, weightsAndBiases: undefined },
  })
  const { training: kept, attempt, objective, logging } = continuedConfig(stored, asked)
  assert.deepEqual(
    [kept.learningRate, kept.microBatchSize, kept.gradientAccumulation, attempt, objective, logging],
    [1.5e-4, 2, 8, 3, 'another', { everySteps: 5, tensorBoard: true, weightsAndBiases: undefined }],
  )
})

test('another effective batch is refused', () => {
  assert.throws(
    () => continuedConfig(stored, checkConfig({ ...valid, ...training({ microBatchSize: 2 }) })),
    /is 8; expected 16/,
  )
})

test('what a resume on another machine differs in is named', () => {
  assert.deepEqual(differences(environment, environment), [])
  assert.deepEqual(differences(environment, { ...environment, instructionPath: 'avx512' as const }), [
    'instructionPath was avx2 and is avx512',
  ])
  const { arithmetic: _, ...older } = environment
  assert.deepEqual(differences(older as Environment, environment), ['arithmetic was not recorded and is 2'])
})

test('trainer_state.json has the fields of the Hugging Face Trainer and gives back what a resume needs', () => {
  const state = {
    step: 200,
    standing: { best: { step: 150, loss: 1.25 }, withoutImprovement: 1 },
    evaluatedStep: 200,
    history: [
      { step: 200, epoch: 2, eval_loss: 1.3 },
      { step: 190, epoch: 1.9, loss: Number.NaN, grad_norm: 1 },
    ],
    tokensSeen: 12345,
  }
  const schedule = { totalSteps: 400, stepsPerEpoch: 100, warmupSteps: 4, peak: 1, shape: 'Cosine' } as const
  const text = formatTrainerState(state, {
    schedule,
    epochs: 2,
    microBatchSize: 4,
    loggingSteps: 25,
    evaluationSteps: 50,
    checkpointSteps: 100,
    patience: 3,
    minImprovement: 0,
  })
  const fields = JSON.parse(text)
  assert.deepEqual(Object.keys(fields), Object.keys(fields).toSorted())
  assert.deepEqual(
    [fields.best_metric, fields.best_global_step, fields.best_model_checkpoint, fields.epoch],
    [1.25, 150, 'checkpoint-150', 2],
  )
  const read = parseTrainerState(text)
  assert.deepEqual({ ...read, history: [] }, { ...state, history: [] })
  assert.deepEqual(read.history[1], { step: 190, epoch: 1.9, grad_norm: 1 })
})
