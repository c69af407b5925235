import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import type { Logger } from 'pino'
import { JobFailure } from '../job/failure.ts'
import { resolveTargets } from '../model/llama.ts'
import { type OpenedModel, openModel } from '../model/open.ts'
import { type AdapterConfig, readAdapter } from '../model/peft.ts'
import { type Adapter, engineInfo, type Model, type Quantization } from '../native/index.ts'
import { readManifest } from '../storage/sealed.ts'
import type { SealedCheckpoint } from './checkpoint.ts'
import type { CheckedConfig } from './configuration.ts'
import { newStanding } from './early-stopping.ts'
import { templateDate } from './example.ts'
import type { LiveRun } from './live-run.ts'
import { readOptimizer, trainerStateName } from './resume-files.ts'
import { continuedConfig, differences, type Environment, readRunConfig, writeRunConfig } from './run-config.ts'
import { threadsOfQuota } from './threads.ts'
import { parseTrainerState, type TrainerState } from './trainer-state.ts'

/** Goes by run_config.json where there is one, else writes it. Also says whether this attempt can be exact. */
export async function settleRun(
  asked: CheckedConfig,
  runDirectory: string,
  live: LiveRun,
  log: Logger,
): Promise<{ config: CheckedConfig; environment: Environment }> {
  refuseDevice(asked.backend)
  const engine = engineInfo()
  const here = (config: CheckedConfig, threads: number): Environment => ({
    threads,
    instructionPath: engine.instructionPath,
    oneDnnVersion: engine.oneDnnVersion,
    compiler: engine.compiler,
    node: process.version,
    microBatchSize: config.training.microBatchSize,
  })
  const stored = await readRunConfig(runDirectory)
  if (stored === undefined) {
    const environment = here(asked, threadsOfQuota())
    await writeRunConfig(runDirectory, { version: 1, config: asked, environment, templateDate })
    return { config: asked, environment }
  }
  const config = continuedConfig(stored, asked)
  const environment = here(config, stored.environment.threads)
  const changed = differences(stored.environment, environment)
  if (changed.length > 0) {
    live.update({ exact: false })
    live.warn(`this attempt is not bit-exact: ${changed.join('; ')}`)
    log.warn({ changed }, 'not bit-exact')
  }
  return { config, environment }
}

/** Auto means the CPU only where there is no device: never a silent CPU run beside an unusable GPU. */
function refuseDevice(backend: string): void {
  if (backend === 'CUDA' || (backend !== 'CPU' && existsSync('/dev/nvidiactl')))
    throw new JobFailure(
      'DriverUnusable',
      `backend is ${backend || 'Auto'} with a GPU; this image has the CPU engine only`,
    )
}

/** Opens the base where the fetch Job sealed it or the user put it. */
export async function openBase({ model }: CheckedConfig, dataDir: string): Promise<OpenedModel> {
  const path = isAbsolute(model.path) ? model.path : join(dataDir, model.path)
  const sealed = await readManifest(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOTDIR') return undefined // one .gguf file on a user's volume
    throw error
  })
  if (sealed !== undefined && sealed.digest !== model.digest)
    throw new JobFailure('SourceInvalid', `${path} holds base ${sealed.digest}; expected ${model.digest}`)
  return openModel(path)
}

export const quantizationOf = ({ quantization }: CheckedConfig): Quantization => ({
  type: quantization.type === 'NF4' ? 'NF4' : 'None',
  blockSize: quantization.blockSize || 64,
  doubleQuantization: quantization.doubleQuantization,
})

export const adapterConfigOf = ({ lora, model }: CheckedConfig): AdapterConfig => ({
  baseModel: model.name,
  rank: lora.rank,
  alpha: lora.alpha,
  dropout: lora.dropout,
  targetModules: resolveTargets(lora.targetModules),
  rankStabilized: lora.rankStabilized,
})

/** The state to go on from: that of the newest sealed checkpoint, or a new run's. */
export async function resumedState(newest: SealedCheckpoint | undefined): Promise<TrainerState> {
  if (newest === undefined) return { step: 0, standing: newStanding, history: [], tokensSeen: 0 }
  return parseTrainerState(await readFile(join(newest.directory, trainerStateName), 'utf8'))
}

/** A new adapter, or the checkpoint's with its optimizer. */
export async function openAdapter(
  model: Model,
  { training }: CheckedConfig,
  { rank, alpha, dropout, targetModules, rankStabilized }: AdapterConfig,
  from: SealedCheckpoint | undefined,
): Promise<Adapter> {
  const lora = { rank, alpha, dropout, targetModules, rankStabilized, seed: training.seed }
  if (from === undefined) return model.createAdapter(lora)
  const { tensors } = await readAdapter(from.directory, model.architecture)
  const adapter = await model.loadAdapter(lora, tensors)
  adapter.restoreOptimizer(await readOptimizer(from.directory, tensors))
  return adapter
}
