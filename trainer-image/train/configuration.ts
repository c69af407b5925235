import type { TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import { JobFailure } from '../job/failure.ts'
import { computeDtypes } from '../model/compute-dtype.ts'
import type { Optimizer } from '../native/index.ts'
import { isDigest } from '../storage/digest.ts'
import { learningRateSchedules } from './schedule.ts'

/** A TrainConfig in which every message is there and every figure is within its bounds. */
export type CheckedConfig = TrainConfig & {
  readonly [Field in
    | 'owner'
    | 'model'
    | 'quantization'
    | 'lora'
    | 'training'
    | 'evaluation'
    | 'checkpoints'
    | 'earlyStopping'
    | 'logging']: NonNullable<TrainConfig[Field]>
}

const required = [
  'owner',
  'model',
  'quantization',
  'lora',
  'training',
  'evaluation',
  'checkpoints',
  'earlyStopping',
  'logging',
] as const

interface Rule {
  readonly field: string
  readonly value: (config: CheckedConfig) => unknown
  readonly holds: (value: never, config: CheckedConfig) => boolean
  readonly expected: string
}

const rule = <T>(
  field: string,
  value: (config: CheckedConfig) => T,
  holds: (value: T, config: CheckedConfig) => boolean,
  expected: string,
): Rule => ({ field, value, holds, expected })

const optimizers: readonly Optimizer[] = ['AdamW', 'AdamW8bit']

const positive = (value: number): boolean => Number.isInteger(value) && value > 0
const notNegative = (value: number): boolean => Number.isInteger(value) && value >= 0
/** Below the claim's root, whatever a configuration says. */
const isRelative = (path: string): boolean => path !== '' && !path.startsWith('/') && !path.split('/').includes('..')
const isName = (text: string): boolean => /^[A-Za-z0-9][A-Za-z0-9.-]*$/.test(text)

const rules: readonly Rule[] = [
  rule('owner.namespace', (c) => c.owner.namespace, isName, 'a Kubernetes name'),
  rule('owner.name', (c) => c.owner.name, isName, 'a Kubernetes name'),
  rule('owner.uid', (c) => c.owner.uid, isName, 'a Kubernetes uid'),
  rule(
    'model.path',
    (c) => c.model.path,
    (path) => path !== '' && !path.split('/').includes('..'),
    'a path without ".."',
  ),
  rule('model.digest', (c) => c.model.digest, isDigest, '"sha256:" and 64 hex digits'),
  rule('datasetDigest', (c) => c.datasetDigest, isDigest, '"sha256:" and 64 hex digits'),
  rule('datasetPath', (c) => c.datasetPath, isRelative, 'a path below the claim without ".."'),
  rule(
    'quantization.type',
    (c) => c.quantization.type,
    (type) => type === 'NF4' || type === 'None',
    'NF4 or None',
  ),
  rule(
    'quantization.blockSize',
    (c) => c.quantization.blockSize,
    (size, c) => c.quantization.type === 'None' || positive(size),
    'more than 0',
  ),
  rule(
    'quantization.computeDtype',
    (c) => c.quantization.computeDtype,
    (type) => computeDtypes.some((known) => known === type),
    'Auto, Float32 or BFloat16',
  ),
  rule(
    'lora.rank',
    (c) => c.lora.rank,
    (rank) => positive(rank) && rank <= 1024,
    'a whole number from 1 to 1024',
  ),
  rule(
    'lora.alpha',
    (c) => c.lora.alpha,
    (alpha) => alpha > 0,
    'more than 0',
  ),
  rule(
    'lora.dropout',
    (c) => c.lora.dropout,
    (dropout) => dropout >= 0 && dropout < 1,
    'from 0 to below 1',
  ),
  rule(
    'training.epochs',
    (c) => c.training.epochs,
    (epochs, c) => epochs > 0 || c.training.maxSteps > 0,
    'more than 0',
  ),
  rule('training.maxSteps', (c) => c.training.maxSteps, notNegative, 'a whole number from 0'),
  rule(
    'training.learningRate',
    (c) => c.training.learningRate,
    (rate) => rate > 0 && rate <= 1,
    'above 0, at most 1',
  ),
  rule(
    'training.learningRateSchedule',
    (c) => c.training.learningRateSchedule,
    (shape) => learningRateSchedules.some((known) => known === shape),
    learningRateSchedules.join(', '),
  ),
  rule(
    'training.warmupRatio',
    (c) => c.training.warmupRatio,
    (ratio) => ratio >= 0 && ratio < 1,
    'from 0 to below 1',
  ),
  rule('training.microBatchSize', (c) => c.training.microBatchSize, positive, 'a whole number from 1'),
  rule('training.gradientAccumulation', (c) => c.training.gradientAccumulation, positive, 'a whole number from 1'),
  rule(
    'training.maxSequenceLength',
    (c) => c.training.maxSequenceLength,
    (length) => positive(length) && length >= 16,
    'a whole number from 16',
  ),
  rule(
    'training.optimizer',
    (c) => c.training.optimizer,
    (name) => optimizers.some((known) => known === name),
    optimizers.join(' or '),
  ),
  rule(
    'training.weightDecay',
    (c) => c.training.weightDecay,
    (decay) => decay >= 0,
    '0 or more',
  ),
  rule(
    'training.maxGradientNorm',
    (c) => c.training.maxGradientNorm,
    (norm) => norm >= 0,
    '0 (no clipping) or more',
  ),
  rule('training.seed', (c) => c.training.seed, Number.isSafeInteger, 'a whole number'),
  rule(
    'training.activationCheckpointing',
    (c) => c.training.activationCheckpointing,
    (policy) => ['', 'Auto', 'None', 'Selective', 'Full', 'Offload'].includes(policy),
    'Auto, None, Selective, Full or Offload',
  ),
  rule('evaluation.everySteps', (c) => c.evaluation.everySteps, notNegative, 'a whole number from 0'),
  rule('evaluation.maxExamples', (c) => c.evaluation.maxExamples, positive, 'a whole number from 1'),
  rule('evaluation.maxTokens', (c) => c.evaluation.maxTokens, notNegative, 'a whole number from 0'),
  rule(
    'evaluation.samples',
    (c) => c.evaluation.samples,
    (count) => count === undefined || notNegative(count),
    'a whole number from 0',
  ),
  rule('checkpoints.everySteps', (c) => c.checkpoints.everySteps, notNegative, 'a whole number from 0'),
  rule('checkpoints.keep', (c) => c.checkpoints.keep, notNegative, 'a whole number from 0'),
  rule('earlyStopping.patience', (c) => c.earlyStopping.patience, notNegative, 'a whole number from 0'),
  rule('logging.everySteps', (c) => c.logging.everySteps, notNegative, 'a whole number from 0'),
  rule(
    'logging.weightsAndBiases.baseUrl',
    (c) => c.logging.weightsAndBiases?.baseUrl ?? 'https://api.wandb.ai',
    (url) => URL.canParse(url) && /^https?:/.test(url),
    'an address that begins with http:// or https://',
  ),
  rule(
    'logging.weightsAndBiases.project',
    (c) => c.logging.weightsAndBiases?.project,
    (project) => project !== '',
    'the name of a project',
  ),
  rule(
    'logging.weightsAndBiases.mode',
    (c) => c.logging.weightsAndBiases?.mode ?? 'Online',
    (mode) => mode === 'Online' || mode === 'Offline',
    'Online or Offline',
  ),
  rule(
    'backend',
    (c) => c.backend,
    (backend) => ['', 'Auto', 'CPU', 'CUDA'].includes(backend),
    'Auto, CPU or CUDA',
  ),
]

/** The configuration with nothing missing; throws ConfigurationInvalid that names the field, its value and what was expected. */
export function checkConfig(config: TrainConfig): CheckedConfig {
  for (const field of required)
    if (config[field] === undefined) throw new JobFailure('ConfigurationInvalid', `${field} is absent; expected it`)
  const checked = config as CheckedConfig
  for (const { field, value, holds, expected } of rules) {
    const found = value(checked)
    if (!holds(found as never, checked))
      throw new JobFailure('ConfigurationInvalid', `${field} is ${JSON.stringify(found)}; expected ${expected}`)
  }
  return checked
}
