/** QLoRA steps of a model with random weights: what a step takes, in time and in memory. */
import {
  type ActivationCheckpointing,
  type Architecture,
  type ComputePath,
  loadModel,
  type Model,
  NativeError,
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

export interface Row {
  readonly sequences: number
  readonly length: number
  readonly activationCheckpointing: ActivationCheckpointing
  /** Of each measured step. */
  readonly stepSeconds: readonly number[]
  readonly tokensPerSecond: number
  /** By the engine's account: not the driver's context, nor cuBLASLt's workspace. */
  readonly peakBytes: number
  /** 4 N tokens/s, N being the frozen linear layers' and the head's weights. */
  readonly operationsPerSecond: number
}

export interface Measured {
  readonly rows: readonly Row[]
  /** What did not fit into the memory, and why. */
  readonly refused: readonly string[]
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

interface Sizes {
  readonly sequences: number
  readonly lengths: readonly number[]
  /** Measured, after two that warm up. */
  readonly steps: number
  readonly threads: number
}

/** One row for each length and policy, of full sequences; rank 32 on all linear layers, dropout 0.05. */
export async function benchmark(a: Architecture, path: ComputePath, sizes: Sizes): Promise<Measured> {
  const { tensors, dispose } = sharedWeights(a)
  const rows: Row[] = []
  const refused: string[] = []
  try {
    for (const length of sizes.lengths)
      for (const activationCheckpointing of ['None', 'Full'] as const) {
        const quantization = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const
        const options = { quantization, threads: sizes.threads, activationCheckpointing, instructionPath: path }
        const model = await loadModel(a, tensors, options)
        try {
          rows.push({ ...(await measure(model, length, sizes)), activationCheckpointing })
        } catch (error) {
          if (!(error instanceof NativeError && error.code === 'OUT_OF_MEMORY')) throw error
          refused.push(`${sizes.sequences} × ${length}, ${activationCheckpointing}: ${error.message}`)
        } finally {
          model.close()
        }
      }
  } finally {
    dispose()
  }
  return { rows, refused }
}

async function measure(
  model: Model,
  length: number,
  { sequences, steps }: Sizes,
): Promise<Omit<Row, 'activationCheckpointing'>> {
  const a = model.architecture
  const adapter = await model.createAdapter(lora(0.05))
  const documents = Array.from({ length: sequences }, (_, s) => randomDocument(length + 1, a.vocabularySize, s))
  const batch = fullyLabelled(documents)
  const stepSeconds: number[] = []
  for (let step = 1; step <= steps + 2; step++) {
    const start = performance.now()
    await qloraStep(model, adapter, batch, step)
    if (step > 2) stepSeconds.push((performance.now() - start) / 1000)
  }
  const tokensPerSecond = (sequences * length) / median(stepSeconds)
  const parameters = computeParameters({
    layers: a.layers,
    hidden: a.hiddenSize,
    intermediate: a.intermediateSize,
    queries: a.heads * a.headSize,
    keyValues: a.keyValueHeads * a.headSize,
    vocabulary: a.vocabularySize,
  })
  return {
    sequences,
    length,
    stepSeconds,
    tokensPerSecond,
    peakBytes: model.memory().peakBytes,
    operationsPerSecond: 4 * parameters * tokensPerSecond,
  }
}
