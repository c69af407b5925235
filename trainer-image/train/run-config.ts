import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import { JobFailure } from '../job/failure.ts'
import type { ComputePath } from '../native/index.ts'
import { writeFileAtomic } from '../storage/atomic.ts'
import { type CheckedConfig, checkConfig } from './configuration.ts'
import type { MemoryPlan } from './memory-plan.ts'

/** What bit equality depends on beside the configuration. */
export interface Environment {
  readonly threads: number
  /** The kernels that the run takes on this machine. */
  readonly instructionPath: ComputePath
  readonly oneDnnVersion: string
  readonly compiler: string
  /** Of the engine: EngineInfo. */
  readonly arithmetic: number
  readonly node: string
  /** The sum over an effective batch is taken in this grouping. */
  readonly microBatchSize: number
}

/** run_config.json: written when the run is planned; every later attempt goes by it, and changes nothing but `memory`. */
export interface RunConfig {
  readonly version: 1
  readonly config: TrainConfig
  readonly environment: Environment
  /** The date that the chat template is given, at training and at serving. */
  readonly templateDate: string
  /** Mean number of texts in one optimizer step, as packed. */
  readonly examplesPerStep: number
  /** Of the newest attempt: what is free decides anew, and no bit of the run depends on it. */
  readonly memory: MemoryPlan
}

const nameIn = (runDirectory: string): string => join(runDirectory, 'run_config.json')

/** Fields of one attempt, no part of the run: never read back. */
const ofAttempt = { trust: undefined, attempt: 0, reclaim: undefined }

export async function readRunConfig(runDirectory: string): Promise<RunConfig | undefined> {
  let text: string
  try {
    text = await readFile(nameIn(runDirectory), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const fields = JSON.parse(text)
  if (fields.version !== 1)
    throw new JobFailure('SourceInvalid', `${nameIn(runDirectory)}: version is ${fields.version}; expected 1`)
  return { ...fields, config: TrainConfig.fromJSON(fields.config) }
}

export async function writeRunConfig(runDirectory: string, runConfig: RunConfig): Promise<void> {
  const config = TrainConfig.toJSON({ ...runConfig.config, ...ofAttempt })
  await writeFileAtomic(nameIn(runDirectory), `${JSON.stringify({ ...runConfig, config }, null, 2)}\n`)
}

/**
 * The run's configuration with this attempt's own fields and what a user may change at any time; the operator's newer
 * defaults never change a running run.
 */
export function continuedConfig(stored: RunConfig, asked: CheckedConfig): CheckedConfig {
  const { microBatchSize, gradientAccumulation } = asked.training
  const kept = stored.config.training
  const before = (kept?.microBatchSize ?? 0) * (kept?.gradientAccumulation ?? 0)
  if (microBatchSize * gradientAccumulation !== before)
    throw new JobFailure(
      'ConfigurationInvalid',
      `training.microBatchSize × gradientAccumulation is ${microBatchSize * gradientAccumulation}; expected ${before} as at the run's start, or other examples would share a step`,
    )
  return checkConfig({
    ...stored.config,
    attempt: asked.attempt,
    trust: asked.trust,
    reclaim: asked.reclaim,
    objective: asked.objective,
    logging: asked.logging,
    training: { ...kept!, microBatchSize, gradientAccumulation },
  })
}

/** Names what differs from the machine and engine the run began on; empty when a resume is exact. */
export const differences = (stored: Environment, now: Environment): string[] =>
  (Object.keys(now) as (keyof Environment)[])
    .filter((key) => stored[key] !== now[key])
    .map((key) => `${key} was ${stored[key] ?? 'not recorded'} and is ${now[key]}`)
