/** A tiny random model and adapter of each family that llama.cpp has a name for, in its files and in ours. */
import { writeFileSync } from 'node:fs'
import { encodeAdapter } from '../../trainer-image/model/gguf-adapter.ts'
import { encodeModel } from '../../trainer-image/model/gguf-model.ts'
import { expectedTensors, linearModules } from '../../trainer-image/model/llama.ts'
import { type AdapterConfig, expectedAdapterTensors } from '../../trainer-image/model/peft.ts'
import type { AdapterTensor, Architecture, TensorSource } from '../../trainer-image/native/index.ts'
import { seal } from '../../trainer-image/storage/sealed.ts'
import { copyTinyLlama } from '../fixtures/adapter.ts'
import { oddArchitecture, random } from './random-model.ts'

export interface Family {
  /** For people. */
  readonly title: string
  /** general.architecture. */
  readonly name: string
  readonly architecture: Architecture
  readonly config: AdapterConfig
}

const sizes: Architecture = { ...oddArchitecture, hiddenSize: 48, heads: 6, keyValueHeads: 2, headSize: 8, layers: 2 }
/** All four kinds of its factors come up at this head size. */
const llama3 = {
  type: 'llama3',
  factor: 8,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalMaxPositions: 64,
} as const
const familyOf = (
  name: string,
  changes: Partial<Architecture>,
  lora: Partial<AdapterConfig> = {},
  title: string = name,
): Family => {
  const architecture = { ...sizes, ...changes }
  const targetModules = linearModules(architecture)
  const config = { baseModel: `tiny/${name}`, rank: 5, alpha: 10, dropout: 0, targetModules, rankStabilized: false }
  return { title, name, architecture, config: { ...config, ...lora } }
}

export const families: readonly Family[] = [
  familyOf('llama', {}),
  familyOf('llama', { ropeScaling: llama3, ropeTheta: 500_000, tiedEmbeddings: false }, {}, 'llama 3'),
  familyOf('qwen2', { qkvBias: true, tiedEmbeddings: false }, { rankStabilized: true }),
  familyOf('phi3', { fusedProjections: true, tiedEmbeddings: false, keyValueHeads: 6 }),
]

/** Ends a prompt at a position that no block divides. */
export const tokens: readonly number[] = Array.from({ length: 21 }, (_, i) => (i * 37 + 5) % sizes.vocabularySize)

/** Every tensor of the model by its Hugging Face name, in f32. */
export function weightsOf({ architecture }: Family): { name: string; shape: readonly number[]; data: Float32Array }[] {
  const next = random(11)
  return [...expectedTensors(architecture)].map(([name, shape]) => {
    const width = shape.length === 2 ? shape[1]! : 0
    const value = () => (width ? ((next() * 2 - 1) * 1.7) / Math.sqrt(width) : 0.8 + 0.4 * next())
    return { name, shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, value) }
  })
}

/** Large enough that nobody could take the base's logits for the adapter's. */
export function adapterOf({ architecture, config }: Family): AdapterTensor[] {
  const next = random(23)
  return [...expectedAdapterTensors(architecture, config)].map(([name, shape]) => ({
    name,
    shape,
    data: Float32Array.from({ length: shape[0] * shape[1] }, () => (next() * 2 - 1) * 0.4),
  }))
}

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`

/** The adapter's file: what is proven. */
export const adapterFile = (family: Family): Buffer =>
  Buffer.concat(
    encodeAdapter(
      family.architecture,
      { config: family.config, tensors: adapterOf(family) },
      { architecture: family.name, digest: digest('a'), baseDigest: digest('b') },
    ),
  )

/** The base's tensors as a loader finds them, in a file that this writes. */
export function sourcesOf(family: Family, file: string): TensorSource[] {
  let offset = 0
  const parts = weightsOf(family)
  writeFileSync(file, Buffer.concat(parts.map(({ data }) => new Uint8Array(data.buffer))))
  return parts.map(({ name, shape, data }) => {
    const source = { name, shape, dtype: 'F32', file, offset, bytes: data.byteLength } as const
    offset += data.byteLength
    return source
  })
}

/** The base's file, without a tokenizer. */
export const baseFile = (family: Family, tensors: readonly TensorSource[]): Promise<Buffer> => {
  const { name, architecture } = family
  return whole(
    encodeModel({ architecture, ggmlArchitecture: name, tensors }, { 'tokenizer.ggml.model': 'none' }, false),
  )
}

export async function whole(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = []
  for await (const piece of pieces) all.push(piece)
  return Buffer.concat(all)
}

/** The tiny Llama as a merged model lies on a claim, at `folder`. Nothing is merged: what that computes is for other tests, and may differ between processors. */
export async function sealedTinyLlama(folder: string): Promise<string> {
  copyTinyLlama(folder)
  await seal(folder, digest('c'), { base: digest('b'), adapter: digest('a') })
  return folder
}

/** What llama.cpp's tokenizer is asked to cut, and its model to go on with. */
export const text = '<|im_start|>user\nIt was 1984, and the clocks were striking thirteen — naïve?<|im_end|>\n'
