/** A Llama in a GGUF file: its architecture from metadata, its tensors under their Hugging Face names. */
import { open } from 'node:fs/promises'
import { JobFailure } from '../job/failure.ts'
import type { Architecture, TensorSource } from '../native/index.ts'
import type { GgufFile, GgufTensor, GgufValue } from './gguf.ts'
import { checkArchitecture, type LinearModule, modulePath } from './llama.ts'
import { readFully } from './safetensors.ts'

/** Reads metadata by key; an error names the file, the key, its value and what was expected. */
export function metadataOf({ path, metadata }: GgufFile) {
  const read = <T extends GgufValue>(
    key: string,
    fallback: T | undefined,
    is: (v: unknown) => v is T,
    expected: string,
  ): T => {
    const value = metadata.get(key) ?? fallback
    if (!is(value)) {
      const found = value === undefined ? 'absent' : String(value).slice(0, 80)
      throw new JobFailure('SourceInvalid', `${path}: metadata ${key} is ${found}; expected ${expected}`)
    }
    return value
  }
  const isNumber = (v: unknown): v is number => typeof v === 'number'
  const isString = (v: unknown): v is string => typeof v === 'string'
  const isList = (v: unknown): v is readonly GgufValue[] => Array.isArray(v)
  return {
    has: (key: string): boolean => metadata.has(key),
    number: (key: string, fallback?: number): number => read(key, fallback, isNumber, 'a number'),
    string: (key: string, fallback?: string): string => read(key, fallback, isString, 'a string'),
    boolean: (key: string, fallback?: boolean): boolean =>
      read(key, fallback, (v): v is boolean => typeof v === 'boolean', 'true or false'),
    numbers: (key: string): readonly number[] =>
      read(key, undefined, (v): v is readonly number[] => isList(v) && v.every(isNumber), 'a list of numbers'),
    strings: (key: string): readonly string[] =>
      read(key, undefined, (v): v is readonly string[] => isList(v) && v.every(isString), 'a list of strings'),
  }
}

export type Metadata = ReturnType<typeof metadataOf>

const TOP_LEVEL: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
}

const IN_LAYER: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
}

/** What llama.cpp calls a Phi-3's fused modules; no such file is read here. */
const FUSED: Readonly<Record<string, string>> = { qkv_proj: 'attn_qkv', gate_up_proj: 'ffn_up' }

/** llama.cpp's name of a linear module within a layer, such as attn_q. */
export function ggmlModule(module: LinearModule): string {
  const path = modulePath(0, module).replace('model.layers.0.', '')
  return FUSED[module] ?? Object.keys(IN_LAYER).find((name) => IN_LAYER[name] === path)!
}

/** Factors by which llama.cpp divides the rotary frequencies of a Llama 3; stands for rope_scaling of config.json. */
export const ropeFactorsName = 'rope_freqs.weight'

/** The Hugging Face name of a ggml tensor, or undefined for one that a plain Llama does not have. */
export function huggingFaceName(ggml: string): string | undefined {
  const top = Object.hasOwn(TOP_LEVEL, ggml) ? TOP_LEVEL[ggml] : undefined
  if (top) return top
  const [, layer, part, kind] = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(ggml) ?? []
  if (layer === undefined || part === undefined || !Object.hasOwn(IN_LAYER, part)) return undefined
  return `model.layers.${layer}.${IN_LAYER[part]}.${kind}`
}

/** The ggml name of a tensor of expectedTensors. */
export function ggmlName(huggingFace: string): string {
  const [, layer, path, kind] = /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(huggingFace) ?? []
  if (layer === undefined) return Object.keys(TOP_LEVEL).find((name) => TOP_LEVEL[name] === huggingFace)!
  const fused = FUSED[path!.split('.').at(-1)!]
  return `blk.${layer}.${fused ?? Object.keys(IN_LAYER).find((name) => IN_LAYER[name] === path)}.${kind}`
}

/** Heads that the rows of a tensor belong to, when llama.cpp may want them in its own order. */
export function headsOf(huggingFace: string, { heads, keyValueHeads }: Architecture): number | undefined {
  if (huggingFace.includes('.q_proj.')) return heads
  return huggingFace.includes('.k_proj.') ? keyValueHeads : undefined
}

/** What general.architecture may be. Interleaved: the rows of q and k stand as llama.cpp's rotary kernel for that family wants them. */
const families: Readonly<Record<string, { readonly interleaved: boolean }>> = {
  llama: { interleaved: true },
  qwen2: { interleaved: false },
}

/** Whether llama.cpp has the rows of q and k in its own order in models of this general.architecture. */
export const interleavesHeads = (architecture: string): boolean => families[architecture]?.interleaved ?? false

/** Reads the architecture; refuses what merely calls itself by a family's name, such as a mixture of experts. */
export async function ggufArchitecture(file: GgufFile): Promise<Architecture> {
  const { path, tensors } = file
  const metadata = metadataOf(file)
  const bad = (message: string) => new JobFailure('SourceInvalid', `${path}: ${message}`)
  const name = metadata.string('general.architecture')
  if (!Object.hasOwn(families, name))
    throw bad(`architecture "${name}" is not supported; supported are ${Object.keys(families).join(', ')}`)
  const number = (key: string, fallback?: number) => metadata.number(`${name}.${key}`, fallback)
  if (number('expert_count', 0) > 0) throw bad('a mixture of experts is not supported; expected a dense model')
  const scaling = metadata.string(`${name}.rope.scaling.type`, 'none')
  if (scaling !== 'none') throw bad(`${name}.rope.scaling.type "${scaling}" is not supported; expected "none"`)
  const contextLength = number('context_length')
  const hiddenSize = number('embedding_length')
  const heads = number('attention.head_count')
  const headSize = number('attention.key_length', hiddenSize / heads)
  const rotated = number('rope.dimension_count', headSize)
  if (rotated !== headSize) throw bad(`${name}.rope.dimension_count is ${rotated}; expected the head size ${headSize}`)
  const ropeTheta = number('rope.freq_base', 10_000)
  const ropeScaling = await ropeScalingOf(file, headSize, ropeTheta)
  return checkArchitecture(
    {
      family: 'llama',
      hiddenSize,
      intermediateSize: number('feed_forward_length'),
      layers: number('block_count'),
      heads,
      keyValueHeads: number('attention.head_count_kv', heads),
      headSize,
      vocabularySize: tensors.get('token_embd.weight')?.shape[0] ?? number('vocab_size'),
      rmsNormEpsilon: number('attention.layer_norm_rms_epsilon'),
      ropeTheta,
      ...(ropeScaling && { ropeScaling }),
      tiedEmbeddings: !tensors.has('output.weight'),
      maxPositions: Math.min(contextLength, number('attention.sliding_window', contextLength)), // as in config.ts
      qkvBias: tensors.has('blk.0.attn_q.bias'),
      outputBias: tensors.has('blk.0.attn_output.bias'),
      fusedProjections: false,
    },
    path,
  )
}

/** The file's tensors with Hugging Face's names; a tensor that a plain Llama does not have is refused. */
export function ggufTensors(file: GgufFile, architecture: Architecture): TensorSource[] {
  const { path, tensors } = file
  const interleaved = interleavesHeads(metadataOf(file).string('general.architecture'))
  const sources: TensorSource[] = []
  for (const tensor of tensors.values()) {
    if (tensor.name === ropeFactorsName) continue
    const name = huggingFaceName(tensor.name)
    if (!name) throw new JobFailure('SourceInvalid', `${path}: tensor ${tensor.name} is not part of a Llama`)
    // Hugging Face and we rotate halves of a head.
    const rotated = headsOf(name, architecture)
    sources.push({ ...tensor, name, file: path, ...(interleaved && rotated && { unpermuteHeads: rotated }) })
  }
  return sources
}

/** By what each rotary frequency is divided under llama3 scaling, as transformers computes it. */
export function llama3Factors(
  scaling: NonNullable<Architecture['ropeScaling']>,
  headSize: number,
  theta: number,
): number[] {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalMaxPositions } = scaling
  return Array.from({ length: headSize / 2 }, (_, i) => {
    const turns = originalMaxPositions / (2 * Math.PI * theta ** ((2 * i) / headSize))
    if (turns > high) return 1
    if (turns < low) return factor
    const smooth = (turns - low) / (high - low)
    return 1 / ((1 - smooth) / factor + smooth)
  })
}

/**
 * GGUF keeps only the factors of llama3 scaling. All Llama 3 models were made with 1, 4 and 8192, so the one unknown is the largest factor;
 * the result is taken only if it gives every factor of the file.
 */
async function ropeScalingOf(file: GgufFile, headSize: number, theta: number): Promise<Architecture['ropeScaling']> {
  const tensor = file.tensors.get(ropeFactorsName)
  if (!tensor) return undefined
  const factors = await readFactors(file.path, tensor)
  const scaling = {
    type: 'llama3',
    factor: Math.max(...factors),
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalMaxPositions: 8192,
  } as const
  const expected = llama3Factors(scaling, headSize, theta)
  if (factors.length !== expected.length || !factors.every((f, i) => Math.abs(f / expected[i]! - 1) < 1e-4))
    throw new JobFailure(
      'SourceInvalid',
      `${file.path}: tensor ${ropeFactorsName} [${factors.length}] is not the llama3 rope scaling with low 1, high 4, 8192 positions`,
    )
  return scaling
}

async function readFactors(path: string, tensor: GgufTensor): Promise<Float32Array> {
  if (tensor.dtype !== 'F32' || tensor.bytes > 4096)
    throw new JobFailure(
      'SourceInvalid',
      `${path}: tensor ${tensor.name} is ${tensor.dtype} [${tensor.shape}]; expected F32 [head size / 2]`,
    )
  const bytes = new Uint8Array(tensor.bytes)
  const file = await open(path)
  try {
    await readFully(file, bytes, tensor.offset, path)
  } finally {
    await file.close()
  }
  return new Float32Array(bytes.buffer)
}
