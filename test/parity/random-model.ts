import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Architecture, Batch, LoraConfig, TensorSource } from '../../trainer-image/native/index.ts'

/** Sizes that no tile, vector or block divides. */
export const oddArchitecture: Architecture = {
  family: 'llama',
  hiddenSize: 40,
  intermediateSize: 72,
  layers: 3,
  heads: 6,
  keyValueHeads: 2,
  headSize: 10,
  vocabularySize: 131,
  rmsNormEpsilon: 1e-5,
  ropeTheta: 10000,
  tiedEmbeddings: true,
  maxPositions: 4096,
  qkvBias: false,
  outputBias: false,
  fusedProjections: false,
}

export const allLinear = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']

export const lora: LoraConfig = {
  rank: 5,
  alpha: 10,
  dropout: 0,
  targetModules: allLinear,
  rankStabilized: false,
  seed: 7,
}

/** A first step large enough to leave zero. */
export const firstStep = {
  step: 1,
  learningRate: 1e-2,
  gradientScale: 1e-3,
  maxGradientNorm: 0,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
}

/** Deterministic uniform numbers in [0, 1): mulberry32. */
export function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

function shapes(a: Architecture): [string, number[]][] {
  const q = a.heads * a.headSize
  const kv = a.keyValueHeads * a.headSize
  const layer = (l: number): [string, number[]][] =>
    (
      [
        ['input_layernorm', [a.hiddenSize]],
        ['self_attn.q_proj', [q, a.hiddenSize]],
        ['self_attn.k_proj', [kv, a.hiddenSize]],
        ['self_attn.v_proj', [kv, a.hiddenSize]],
        ['self_attn.o_proj', [a.hiddenSize, q]],
        ['post_attention_layernorm', [a.hiddenSize]],
        ['mlp.gate_proj', [a.intermediateSize, a.hiddenSize]],
        ['mlp.up_proj', [a.intermediateSize, a.hiddenSize]],
        ['mlp.down_proj', [a.hiddenSize, a.intermediateSize]],
      ] as [string, number[]][]
    ).map(([name, shape]) => [`model.layers.${l}.${name}.weight`, shape])
  return [
    ['model.embed_tokens.weight', [a.vocabularySize, a.hiddenSize]],
    ...Array.from({ length: a.layers }, (_, l) => layer(l)).flat(),
    ['model.norm.weight', [a.hiddenSize]],
    ...(a.tiedEmbeddings ? [] : [['lm_head.weight', [a.vocabularySize, a.hiddenSize]] as [string, number[]]]),
  ]
}

/** Random F32 weights in a file of their own; dispose removes it. */
export function randomWeights(a: Architecture, seed = 1): { tensors: TensorSource[]; dispose: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'humanizer-weights-'))
  const file = join(folder, 'weights.bin')
  const next = random(seed)
  const parts: Uint8Array[] = []
  let offset = 0
  const tensors = shapes(a).map(([name, shape]): TensorSource => {
    const count = shape.reduce((product, size) => product * size, 1)
    const width = shape.length === 2 ? shape[1]! : 0
    const data = Float32Array.from({ length: count }, () =>
      width ? ((next() * 2 - 1) * 1.7) / Math.sqrt(width) : 0.8 + 0.4 * next(),
    )
    parts.push(new Uint8Array(data.buffer))
    const source: TensorSource = { name, shape, dtype: 'F32', file, offset, bytes: count * 4 }
    offset += count * 4
    return source
  })
  writeFileSync(file, Buffer.concat(parts))
  return { tensors, dispose: () => rmSync(folder, { recursive: true }) }
}

/** Packs documents, given by sequence, into one batch. Every token but a document's last is labelled unless `labelled` says no. */
export function pack(
  sequences: readonly (readonly number[])[][],
  labelled: (position: number) => boolean = () => true,
): Batch {
  const tokens: number[] = []
  const labels: number[] = []
  const documents = [0]
  const offsets = [0]
  for (const sequence of sequences) {
    for (const document of sequence) {
      document.forEach((token, i) => {
        tokens.push(token)
        labels.push(i + 1 < document.length && labelled(i) ? document[i + 1]! : -100)
      })
      documents.push(tokens.length)
    }
    offsets.push(tokens.length)
  }
  return {
    tokens: Int32Array.from(tokens),
    labels: Int32Array.from(labels),
    documents: Int32Array.from(documents),
    sequences: Int32Array.from(offsets),
    sequenceOrdinals: Int32Array.from(sequences, (_, s) => s),
  }
}

export function randomDocument(length: number, vocabulary: number, seed: number): number[] {
  const next = random(seed)
  return Array.from({ length }, () => Math.floor(next() * vocabulary))
}

/** max |a - b| / max |a|: the error against the size of what is compared. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0
  let largest = 1e-30
  for (let i = 0; i < expected.length; i++) {
    difference = Math.max(difference, Math.abs(actual[i]! - expected[i]!))
    largest = Math.max(largest, Math.abs(expected[i]!))
  }
  return actual.length === expected.length ? difference / largest : Number.NaN
}

/** Index of the largest value; the lowest index among equals. */
export function argmax(values: Float32Array): number {
  let best = 0
  for (let index = 1; index < values.length; index++) if (values[index]! > values[best]!) best = index
  return best
}
