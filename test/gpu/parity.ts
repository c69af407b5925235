/**
 * Training steps of each model family through the addon on two compute paths, each from the first path's parameters; losses and gradients
 * compared; steps under each policy of recomputation with each other, and what it writes. Run as a program (HUMANIZER_NATIVE is the engine with CUDA's kernels; arguments name the families, none: all): the GPU against the
 * CPU; exit status 1 when one is beyond.
 */
import { linearModules } from '../../trainer-image/model/llama.ts'
import {
  type Adapter,
  type AdapterTensor,
  type Architecture,
  type Batch,
  type ComputePath,
  engineInfo,
  type LoraConfig,
  loadModel,
  type Model,
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

type LoadOptions = Parameters<typeof loadModel>[2]

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

/** As in step.cu: heads that bf16's wide loads can read. */
const sized = (architecture: Architecture): Architecture => ({ ...architecture, headSize: 8 })

const loraOf = (a: Architecture): LoraConfig => ({
  rank: 5,
  alpha: 10,
  dropout: 0.05,
  targetModules: linearModules(a),
  rankStabilized: false,
  seed: 7,
})

async function open(a: Architecture, path: ComputePath, options: Partial<LoadOptions> = {}, seed = 1): Promise<Model> {
  const { tensors, dispose } = sharedWeights(a, seed)
  try {
    const quantization = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const
    return await loadModel(a, tensors, { quantization, threads: 1, instructionPath: path, ...options })
  } finally {
    dispose()
  }
}

const batchOf = (a: Architecture, step: number): Batch => {
  const document = (length: number): number[] => randomDocument(length, a.vocabularySize, 100 * step + length)
  return pack([[document(17), document(9)], [document(30)]])
}

/** The largest relative errors over all steps and matrices of `path` against `reference`; seed: of path's weights. */
export async function compare(
  architecture: Architecture,
  path: ComputePath,
  reference: ComputePath,
  seed = 1,
): Promise<Errors> {
  const a = sized(architecture)
  const lora = loraOf(a)
  const expected = await open(a, reference)
  const actual = await open(a, path, {}, seed)
  const errors: Errors = { loss: 0, gradient: 0, scores: 0 }
  try {
    const adapter: Adapter = await expected.createAdapter(lora)
    for (let step = 1; step <= STEPS; step++) {
      const batch = batchOf(a, step)
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

/** Loss and gradients of a step under each policy of recomputation, as text: the same, bit for bit. */
export async function otherBits(architecture: Architecture, path: ComputePath): Promise<string[]> {
  const a = sized(architecture)
  const bits: string[] = []
  for (const activationCheckpointing of policies) {
    const model = await open(a, path, { activationCheckpointing })
    try {
      const adapter = await model.createAdapter(loraOf(a))
      const { nll } = await model.accumulate(adapter, batchOf(a, 1), 1)
      const gradients = adapter
        .gradients()
        .map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength))
      bits.push([nll, ...gradients.map((gradient) => gradient.toString('base64'))].join())
    } finally {
      model.close()
    }
  }
  return policies.filter((_, i) => bits[i] !== bits[0]).map((policy) => `other bits under ${policy} than under None`)
}
const policies = ['None', 'Selective', 'Full', 'Offload'] as const

/** The tokens that follow a prompt, the most probable at a time, on the base. */
export async function written(architecture: Architecture, path: ComputePath): Promise<number[]> {
  const a = sized(architecture)
  const model = await open(a, path)
  try {
    const sequence = model.openSequence(undefined, 64)
    const written: number[] = []
    let tokens = Int32Array.from(randomDocument(20, a.vocabularySize, 3))
    while (written.length < 8) {
      const [logits] = await model.forward([{ sequence, tokens }])
      written.push(logits!.indexOf(Math.max(...logits!)))
      tokens = Int32Array.of(written.at(-1)!)
    }
    return written
  } finally {
    model.close()
  }
}

if (import.meta.main) {
  const named = process.argv.slice(2)
  for (const [path, bound] of [
    ['cuda_f32', bounds.f32],
    ['cuda', bounds.bf16],
  ] as const)
    for (const [family, architecture] of Object.entries(families)) {
      if (named.length > 0 && !named.includes(family)) continue
      const { instructionPath } = engineInfo()
      const errors = await compare(architecture, path, instructionPath)
      const differ = await otherBits(architecture, path)
      if (path === 'cuda_f32') {
        const [ours, theirs] = [await written(architecture, path), await written(architecture, instructionPath)]
        if (ours.join() !== theirs.join()) differ.push(`tokens ${ours.join(' ')} instead of ${theirs.join(' ')}`)
      }
      const isOk = isWithin(errors, bound) && differ.length === 0
      if (!isOk) process.exitCode = 1
      console.log(JSON.stringify({ family, path, ok: isOk, errors, bound, differ }))
    }
}
