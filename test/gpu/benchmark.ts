/** QLoRA steps of a model with random weights: what a step takes, in time and in memory. */
import {
  type ActivationCheckpointing,
  type Architecture,
  type ComputePath,
  gpuReadings,
  loadModel,
  type Model,
  NativeError,
  type OpTime,
  type Optimizer,
  type TensorSource,
} from '../../trainer-image/native/index.ts'
import { fullyLabelled, lora, qloraStep } from '../bench/engine/qlora-step.ts'
import { computeParameters, llama3B as sizes3B } from '../cuda/step-work.ts'
import { randomDocument } from '../parity/random-model.ts'
import { sharedWeights } from './weights.ts'

/** Llama 3.2 3B. */
export const llama3B: Architecture = {
  family: 'llama',
  hiddenSize: sizes3B.hidden,
  intermediateSize: sizes3B.intermediate,
  layers: sizes3B.layers,
  heads: sizes3B.queries / 128,
  keyValueHeads: sizes3B.keyValues / 128,
  headSize: 128,
  vocabularySize: sizes3B.vocabulary,
  rmsNormEpsilon: 1e-5,
  ropeTheta: 500_000,
  ropeScaling: {
    type: 'llama3',
    factor: 32,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalMaxPositions: 8192,
  },
  tiedEmbeddings: true,
  maxPositions: 131_072,
  qkvBias: false,
  outputBias: false,
  fusedProjections: false,
}

export interface Setting {
  readonly sequences: number
  readonly length: number
  readonly activationCheckpointing: ActivationCheckpointing
  readonly optimizer: Optimizer
  /** On an H100, with the 3B model. */
  readonly goal?: { readonly tokensPerSecond?: number; readonly gib?: number }
}

/** Of the 3B model. A pod's policy Auto takes None wherever that fits, and then Selective. */
export const settings: readonly Setting[] = [
  { ...of(4, 1024), activationCheckpointing: 'None', goal: { tokensPerSecond: 25_000 } },
  { ...of(4, 1024), activationCheckpointing: 'Selective' },
  { ...of(4, 1024), activationCheckpointing: 'Full', goal: { gib: 4 } },
  { ...of(4, 2048), activationCheckpointing: 'None', goal: { tokensPerSecond: 25_000 } },
  { ...of(4, 2048), activationCheckpointing: 'Full' },
  { ...of(2, 4096), activationCheckpointing: 'Full' },
  { ...of(2, 4096), activationCheckpointing: 'Offload', goal: { tokensPerSecond: 14_400, gib: 4.6 } },
  { ...of(4, 1024), activationCheckpointing: 'None', optimizer: 'AdamW8bit' },
  { ...of(2, 4096), activationCheckpointing: 'Offload', optimizer: 'AdamW8bit' },
]

function of(sequences: number, length: number): Pick<Setting, 'sequences' | 'length' | 'optimizer'> {
  return { sequences, length, optimizer: 'AdamW' }
}

export interface Row extends Setting {
  /** Of each step. */
  readonly stepSeconds: readonly number[]
  readonly tokensPerSecond: number
  /** By the engine's account: not the driver's context, nor cuBLASLt's workspace. */
  readonly peakBytes: number
  /** On the whole GPU after the steps, by NVIDIA's management library; null where it does not tell. */
  readonly gpuBytes: number | null
  /** 4 N tokens/s, N being the frozen linear layers' and the head's weights. */
  readonly operationsPerSecond: number
}

/** Of one step in which every operation is waited for. */
export interface TimedStep {
  readonly setting: Setting
  readonly seconds: number
  readonly ops: readonly OpTime[]
}

export interface Benchmark {
  readonly rows: readonly Row[]
  /** Of the first row's setting; null where that did not fit. */
  readonly timed: TimedStep | null
  /** What did not fit into the memory, and why. */
  readonly refused: readonly string[]
  /** What ended it early; null where nothing did. */
  readonly failed: string | null
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

interface Plan {
  readonly settings: readonly Setting[]
  /** Of each row, after two that warm up. */
  readonly steps: number
  readonly threads: number
}

export const nameOf = ({ sequences, length, activationCheckpointing, optimizer }: Setting): string =>
  `${sequences} × ${length}, ${activationCheckpointing}, ${optimizer}`

/** A row for each setting, of full sequences; rank 32 on all linear layers, dropout 0.05. */
export async function benchmark(
  a: Architecture,
  path: ComputePath,
  { settings, steps, threads }: Plan,
): Promise<Benchmark> {
  const { tensors, dispose } = sharedWeights(a)
  const rows: Row[] = []
  const refused: string[] = []
  let timed: TimedStep | null = null
  let failed: string | null = null
  try {
    for (const [i, setting] of settings.entries())
      try {
        rows.push(await loaded(a, tensors, { setting, path, threads }, (model) => rowOf(model, setting, steps)))
        if (i === 0)
          timed = await loaded(a, tensors, { setting, path, threads, timed: true }, (model) =>
            timedStep(model, setting),
          )
      } catch (error) {
        if (!(error instanceof NativeError)) throw error
        const told = `${nameOf(setting)}: ${error.message}`
        if (error.code === 'OUT_OF_MEMORY') {
          refused.push(told)
          continue
        }
        failed = told // what was measured before a device was lost is kept
        break
      }
  } finally {
    dispose()
  }
  return { rows, timed, refused, failed }
}

async function loaded<T>(
  a: Architecture,
  tensors: readonly TensorSource[],
  { setting, path, threads, timed = false }: { setting: Setting; path: ComputePath; threads: number; timed?: boolean },
  use: (model: Model) => Promise<T>,
): Promise<T> {
  const quantization = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const
  const { activationCheckpointing } = setting
  const options = { quantization, threads, activationCheckpointing, instructionPath: path, timed }
  const model = await loadModel(a, tensors, options)
  try {
    return await use(model)
  } finally {
    model.close()
  }
}

/** Seconds of each of `count` steps. */
async function stepsOf(model: Model, { sequences, length, optimizer }: Setting, count: number): Promise<number[]> {
  const adapter = await model.createAdapter({ ...lora(0.05), optimizer })
  const { vocabularySize } = model.architecture
  const documents = Array.from({ length: sequences }, (_, s) => randomDocument(length + 1, vocabularySize, s))
  const batch = fullyLabelled(documents)
  const seconds: number[] = []
  for (let step = 1; step <= count; step++) {
    const start = performance.now()
    await qloraStep(model, adapter, batch, step)
    seconds.push((performance.now() - start) / 1000)
    if (step === count - 1) model.takeOpTimes()
  }
  return seconds
}

async function rowOf(model: Model, setting: Setting, steps: number): Promise<Row> {
  const a = model.architecture
  const stepSeconds = (await stepsOf(model, setting, steps + 2)).slice(2)
  const tokensPerSecond = (setting.sequences * setting.length) / median(stepSeconds)
  const parameters = computeParameters({
    layers: a.layers,
    hidden: a.hiddenSize,
    intermediate: a.intermediateSize,
    queries: a.heads * a.headSize,
    keyValues: a.keyValueHeads * a.headSize,
    vocabulary: a.vocabularySize,
  })
  return {
    ...setting,
    stepSeconds,
    tokensPerSecond,
    peakBytes: model.memory().peakBytes,
    gpuBytes: gpuReadings()?.memoryUsedBytes ?? null,
    operationsPerSecond: 4 * parameters * tokensPerSecond,
  }
}

async function timedStep(model: Model, setting: Setting): Promise<TimedStep> {
  const seconds = await stepsOf(model, setting, 3)
  return { setting, seconds: seconds.at(-1)!, ops: model.takeOpTimes() }
}
