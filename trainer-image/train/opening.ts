import { isAbsolute, join } from 'node:path'
import { onDevice } from '../job/device.ts'
import { computePathOf, continuedPath } from '../model/compute-dtype.ts'
import { requireModel } from '../model/identity.ts'
import { resolveTargets } from '../model/llama.ts'
import { type OpenedModel, openModel, requireTemplate } from '../model/open.ts'
import { type AdapterConfig, readAdapter } from '../model/peft.ts'
import {
  type ActivationCheckpointing,
  type Adapter,
  type Architecture,
  engineInfo,
  type LoraConfig,
  type Model,
  type Optimizer,
  type Quantization,
} from '../native/index.ts'
import type { SealedCheckpoint } from './checkpoint.ts'
import type { CheckedConfig } from './configuration.ts'
import { templateDate } from './example.ts'
import { readOptimizer } from './resume-files.ts'
import { continuedConfig, type Environment, type RunConfig, readRunConfig } from './run-config.ts'
import { threadsOfQuota } from './threads.ts'

/** What an attempt goes by. */
export interface Settled {
  readonly config: CheckedConfig
  /** Of this attempt. */
  readonly environment: Environment
  readonly templateDate: string
  /** run_config.json, when the run was planned before. */
  readonly stored: RunConfig | undefined
}

/** Goes by run_config.json where there is one. */
export async function settleRun(asked: CheckedConfig, runDirectory: string): Promise<Settled> {
  const device = onDevice(asked.backend)
  const stored = await readRunConfig(runDirectory)
  const config = stored === undefined ? asked : continuedConfig(stored, asked)
  const { oneDnnVersion, compiler, arithmetic } = engineInfo()
  const { computeDtype } = config.quantization
  const environment: Environment = {
    threads: stored?.environment.threads ?? threadsOfQuota(),
    instructionPath: stored
      ? continuedPath(stored.environment.instructionPath, device, computeDtype)
      : computePathOf(device, computeDtype),
    oneDnnVersion,
    compiler,
    arithmetic,
    node: process.version,
    microBatchSize: config.training.microBatchSize,
  }
  return { config, environment, templateDate: stored?.templateDate ?? templateDate, stored }
}

/** Opens the base where the fetch Job sealed it or the user put it, and reads its bytes, minutes of a large one: it must be the one that is named. */
export async function openBase(
  { model }: CheckedConfig,
  dataDir: string,
  chatTemplate?: string | undefined,
  beat?: () => void,
): Promise<OpenedModel> {
  const path = isAbsolute(model.path) ? model.path : join(dataDir, model.path)
  const opened = requireTemplate(path, await openModel(path, chatTemplate))
  await requireModel(opened, model.digest, path, beat)
  return opened
}

export const quantizationOf = ({ quantization }: CheckedConfig): Quantization => ({
  type: quantization.type === 'NF4' ? 'NF4' : 'None',
  blockSize: quantization.blockSize || 64,
  doubleQuantization: quantization.doubleQuantization,
})

/** Absent means Auto. */
export const activationCheckpointingOf = ({ training }: CheckedConfig): 'Auto' | ActivationCheckpointing =>
  (training.activationCheckpointing || 'Auto') as 'Auto' | ActivationCheckpointing

export const adapterConfigOf = ({ lora, model }: CheckedConfig, architecture: Architecture): AdapterConfig => ({
  baseModel: model.name,
  rank: lora.rank,
  alpha: lora.alpha,
  dropout: lora.dropout,
  targetModules: resolveTargets(architecture, lora.targetModules),
  rankStabilized: lora.rankStabilized,
})

/** Absent means AdamW. */
export const optimizerOf = ({ training }: CheckedConfig): Optimizer => (training.optimizer || 'AdamW') as Optimizer

/** A new adapter, or the checkpoint's with its optimizer. */
export async function openAdapter(
  model: Model,
  config: CheckedConfig,
  adapterConfig: AdapterConfig,
  from: SealedCheckpoint | undefined,
): Promise<Adapter> {
  if (from === undefined) return model.createAdapter(loraOf(config, adapterConfig))
  const { tensors } = await readAdapter(from.directory, model.architecture)
  const adapter = await model.loadAdapter(loraOf(config, adapterConfig), tensors)
  adapter.restoreOptimizer(await readOptimizer(from.directory, tensors))
  return adapter
}

/** A checkpoint's adapter as it serves. */
export async function openSealed(
  model: Model,
  config: CheckedConfig,
  adapterConfig: AdapterConfig,
  { directory }: SealedCheckpoint,
): Promise<Adapter> {
  const { tensors } = await readAdapter(directory, model.architecture)
  return model.loadAdapter(loraOf(config, adapterConfig), tensors)
}

function loraOf(
  config: CheckedConfig,
  { rank, alpha, dropout, targetModules, rankStabilized }: AdapterConfig,
): LoraConfig {
  const { seed } = config.training
  return { rank, alpha, dropout, targetModules, rankStabilized, seed, optimizer: optimizerOf(config) }
}
