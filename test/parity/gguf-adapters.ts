/** A tiny random model and adapter of each family that llama.cpp has a name for, in its files and in ours. */

import { encodeAdapter } from '../../trainer-image/model/gguf-adapter.ts'
import { ggmlModule, interleavesHeads } from '../../trainer-image/model/gguf-llama.ts'
import { encodeGguf, type GgufWeights, ggmlF32, interleaveHalves } from '../../trainer-image/model/gguf-write.ts'
import { expectedTensors, type LinearModule, linearModules } from '../../trainer-image/model/llama.ts'
import { type AdapterConfig, expectedAdapterTensors } from '../../trainer-image/model/peft.ts'
import type { AdapterTensor, Architecture } from '../../trainer-image/native/index.ts'
import { oddArchitecture, random } from './random-model.ts'

export interface Family {
  /** general.architecture. */
  readonly name: string
  readonly architecture: Architecture
  readonly config: AdapterConfig
}

const sizes: Architecture = { ...oddArchitecture, hiddenSize: 48, heads: 6, keyValueHeads: 2, headSize: 8, layers: 2 }
const familyOf = (name: string, changes: Partial<Architecture>, lora: Partial<AdapterConfig> = {}): Family => {
  const architecture = { ...sizes, ...changes }
  const targetModules = linearModules(architecture)
  const config = { baseModel: `tiny/${name}`, rank: 5, alpha: 10, dropout: 0, targetModules, rankStabilized: false }
  return { name, architecture, config: { ...config, ...lora } }
}

export const families: readonly Family[] = [
  familyOf('llama', {}),
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

/** The base as llama.cpp has it, without a tokenizer. */
export function baseFile(family: Family): Buffer {
  const { name, architecture: a } = family
  const metadata = {
    'general.architecture': name,
    [`${name}.block_count`]: a.layers,
    [`${name}.context_length`]: 256,
    [`${name}.embedding_length`]: a.hiddenSize,
    [`${name}.feed_forward_length`]: a.intermediateSize,
    [`${name}.attention.head_count`]: a.heads,
    [`${name}.attention.head_count_kv`]: a.keyValueHeads,
    [`${name}.attention.layer_norm_rms_epsilon`]: { float: a.rmsNormEpsilon },
    [`${name}.rope.dimension_count`]: a.headSize,
    [`${name}.rope.freq_base`]: { float: a.ropeTheta },
    [`${name}.vocab_size`]: a.vocabularySize,
    'tokenizer.ggml.model': 'none',
  }
  const weights = weightsOf(family).map(({ name: tensor, shape, data }): GgufWeights => {
    const bytes = new Uint8Array(data.buffer)
    const heads = /\.q_proj\./.test(tensor) ? a.heads : /\.k_proj\./.test(tensor) ? a.keyValueHeads : undefined
    const rows = heads && interleavesHeads(name) ? interleaveHalves(bytes, heads, shape[0]!) : bytes
    return { name: ggmlName(tensor), type: ggmlF32, shape, data: rows }
  })
  return Buffer.concat(encodeGguf(metadata, weights))
}

const others: Readonly<Record<string, string>> = {
  'model.embed_tokens.weight': 'token_embd.weight',
  'model.norm.weight': 'output_norm.weight',
  'lm_head.weight': 'output.weight',
}

function ggmlName(name: string): string {
  const [, layer, module, kind] = /^model\.layers\.(\d+)\.(?:\w+\.)?(\w+)\.(weight|bias)$/.exec(name) ?? []
  if (layer === undefined) return others[name]!
  const norms: Readonly<Record<string, string>> = { input_layernorm: 'attn_norm', post_attention_layernorm: 'ffn_norm' }
  return `blk.${layer}.${norms[module!] ?? ggmlModule(module as LinearModule)}.${kind}`
}
