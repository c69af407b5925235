/** Whole runs of the trainer as its Job does them, but for the pod: configuration in, checkpoints on disk, log lines out. */
import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import type { JobContext } from '../../../trainer-image/job/context.ts'
import { sumModel } from '../../../trainer-image/model/identity.ts'
import { openModel } from '../../../trainer-image/model/open.ts'
import { hexOf } from '../../../trainer-image/storage/digest.ts'
import { train } from '../../../trainer-image/train/train.ts'

/** A line of the trainer's log. */
export interface LogLine {
  /** Milliseconds since 1970. */
  readonly time: number
  readonly msg: string
  readonly step?: number
  readonly tokensPerSecond?: number
  readonly promptTokens?: number
  readonly labelTokens?: number
}

/** Below the claim's root. */
export const baseInClaim = 'models/base'

export interface RunSettings {
  readonly gradientAccumulation: number
  readonly checkpointEvery: number
  readonly logEvery: number
}

/** Trains one epoch of the dataset with the defaults of a QLoRARun but for `settings`; the run's files are removed again. */
export async function trainerRun(claim: string, datasetDigest: string, settings: RunSettings): Promise<LogLine[]> {
  const base = await sumModel(await openModel(join(claim, baseInClaim)))
  const uid = randomUUID()
  const config = TrainConfig.fromPartial({
    owner: { namespace: 'bench', name: 'bench', uid },
    attempt: 1,
    model: { path: baseInClaim, digest: base.digest, name: 'SmolLM2-135M-Instruct' },
    datasetDigest,
    datasetPath: `datasets/${hexOf(datasetDigest)}`,
    quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true, computeDtype: 'Auto' },
    lora: { rank: 32, alpha: 16, dropout: 0.05 },
    training: {
      epochs: 1,
      learningRate: 1.5e-4,
      learningRateSchedule: 'Cosine',
      warmupRatio: 0.03,
      microBatchSize: 4,
      gradientAccumulation: settings.gradientAccumulation,
      maxSequenceLength: 1024,
      packing: true,
      optimizer: 'AdamW',
      weightDecay: 0,
      maxGradientNorm: 1,
      seed: 42,
    },
    evaluation: { everySteps: 0, maxExamples: 1 },
    checkpoints: { everySteps: settings.checkpointEvery, keep: 1 },
    earlyStopping: { patience: 0 },
    logging: { everySteps: settings.logEvery, tensorBoard: true },
    backend: 'CPU',
  })
  const lines: LogLine[] = []
  const context: JobContext = {
    dataDir: claim,
    signal: new AbortController().signal,
    log: pino({}, { write: (line) => void lines.push(JSON.parse(line)) }),
    podUid: uid,
    podName: 'bench',
    terminationLog: join(claim, 'termination-log'),
    stateDir: claim,
    desiredFile: join(claim, 'desired.json'),
    hubEndpoint: '',
  }
  await train(config, context)
  rmSync(join(claim, 'runs'), { recursive: true })
  return lines
}
