/**
 * Training steps of each model family through the addon on two compute paths, each from the first path's parameters; losses and gradients
 * compared. Run as a program (HUMANIZER_NATIVE is the engine with CUDA's kernels; arguments name the families, none: all): the GPU against the
 * CPU; exit status 1 when one is beyond.
 */
import { linearModules } from '../../trainer-image/model/llama.ts'
import {
  type Adapter,
  type AdapterTensor,
  type Architecture,
  type ComputePath,
  engineInfo,
  type LoraConfig,
  loadModel,
} from '../../trainer-image/native/index.ts'
import { firstStep, oddArchitecture, pack, randomDocument } from '../parity/random-model.ts'
import { sharedWeights } from './weights.ts'

export const families: Readonly<Record<string, Architecture>> = {
  Llama: {
    ...oddArchitecture,
    ropeScaling: {
      type: 'llama3',
      factor: 32,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalMaxPositions: 64,
    },
  },
  Qwen2: { ...oddArchitecture, heads: 4, keyValueHeads: 1, qkvBias: true },
  Mistral: { ...oddArchitecture, heads: 4, tiedEmbeddings: false },
  'Phi-3': { ...oddArchitecture, heads: 3, keyValueHeads: 3, tiedEmbeddings: false, fusedProjections: true },
}

/** As step.cu has them, and why. `scores` is of q and k. */
export const bounds = {
  f32: { loss: 1e-6, gradient: 3e-5, scores: 6e-5 },
  bf16: { loss: 4e-3, gradient: 0.06, scores: 0.12 },
} as const
export type Errors = Record<keyof (typeof bounds)['f32'], number>

export const isWithin = (errors: Errors, bound: Errors): boolean =>
  (Object.keys(bound) as (keyof Errors)[]).every((what) => errors[what] <= bound[what])

const STEPS = 3

/** |a - b| / |b|, as Frobenius norms. */
function distance(a: Float32Array, b: Float32Array): number {
  let difference = 0
  let size = 0
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2
    size += b[i]! ** 2
  }
  return size === 0 && difference === 0 ? 0 : Math.sqrt(difference / size)
}

/** The largest relative errors over all steps and matrices of `path` against `reference`; seed: of path's weights. */
export async function compare(
  architecture: Architecture,
  path: ComputePath,
  reference: ComputePath,
  seed = 1,
): Promise<Errors> {
  // As in step.cu: heads that bf16's wide loads can read.
  const a = { ...architecture, headSize: 8 }
  const lora: LoraConfig = {
    rank: 5,
    alpha: 10,
    dropout: 0.05,
    targetModules: linearModules(a),
    rankStabilized: false,
    seed: 7,
  }
  const open = async (path: ComputePath, seed: number) => {
    const { tensors, dispose } = sharedWeights(a, seed)
    try {
      const quantization = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const
      return await loadModel(a, tensors, { quantization, threads: 1, instructionPath: path })
    } finally {
      dispose()
    }
  }
  const expected = await open(reference, 1)
  const actual = await open(path, seed)
  const errors: Errors = { loss: 0, gradient: 0, scores: 0 }
  try {
    const adapter: Adapter = await expected.createAdapter(lora)
    for (let step = 1; step <= STEPS; step++) {
      const document = (length: number): number[] => randomDocument(length, a.vocabularySize, 100 * step + length)
      const batch = pack([[document(17), document(9)], [document(30)]])
      const other = await actual.loadAdapter(lora, adapter.tensors())
      const loss = await expected.accumulate(adapter, batch, step)
      const otherLoss = await actual.accumulate(other, batch, step)
      errors.loss = Math.max(errors.loss, Math.abs(otherLoss.nll / loss.nll - 1))
      const gradients = other.gradients()
      adapter.gradients().forEach(({ name, data }: AdapterTensor, i) => {
        const what = /\.(q|k|qkv)_proj\./.test(name) ? 'scores' : 'gradient'
        errors[what] = Math.max(errors[what], distance(gradients[i]!.data, data))
      })
      other.close()
      await expected.optimizerStep(adapter, { ...firstStep, step, gradientScale: 1 / loss.labelTokens })
    }
  } finally {
    expected.close()
    actual.close()
  }
  return errors
}

if (import.meta.main) {
  const named = process.argv.slice(2)
  for (const [path, bound] of [
    ['cuda_f32', bounds.f32],
    ['cuda', bounds.bf16],
  ] as const)
    for (const [family, architecture] of Object.entries(families)) {
      if (named.length > 0 && !named.includes(family)) continue
      const errors = await compare(architecture, path, engineInfo().instructionPath)
      const isOk = isWithin(errors, bound)
      if (!isOk) process.exitCode = 1
      console.log(JSON.stringify({ family, path, ok: isOk, errors, bound }))
    }
}
