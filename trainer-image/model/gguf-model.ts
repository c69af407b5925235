/**
 * A Hugging Face folder as the one GGUF file that llama.cpp and Ollama read, as llama.cpp's convert_hf_to_gguf.py would make it: matrices as they
 * are (or Q8_0), vectors in F32, the rows of a Llama's q and k in llama.cpp's order, tokenizer and chat template inside. Made piece by
 * piece while it is read, so that a file of any size needs neither disk nor memory; the pieces are the same each time.
 */
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { JobFailure } from '../job/failure.ts'
import type { Architecture, TensorSource } from '../native/index.ts'
import { verifySealed } from '../storage/sealed.ts'
import { ggmlName, headsOf, interleavesHeads, llama3Factors, ropeFactorsName } from './gguf-llama.ts'
import { ggufTokenizerMetadata } from './gguf-tokenizer-write.ts'
import { type GgufEntry, type GgufMetadata, ggmlF32, ggufHeader, interleaveHalves, paddingOf } from './gguf-write.ts'
import { type OpenedModel, openModel } from './open.ts'

/** ggml's numbers, and the values of general.file_type that name a file after its matrices. */
const types = {
  F32: { type: ggmlF32, fileType: 0 },
  F16: { type: 1, fileType: 1 },
  BF16: { type: 30, fileType: 32 },
  Q8_0: { type: 8, fileType: 7 },
} as const
type Plain = Exclude<keyof typeof types, 'Q8_0'>

/** Numbers of a block of Q8_0: their scale in F16, then each in eight bits. */
const block = 32
const blockBytes = 2 + block

export interface GgufModel {
  /** The whole file, from its beginning each time. */
  read(): AsyncIterable<Uint8Array>
  /** "sha256:…" of the base and of the adapter in it. */
  readonly base: string
  readonly adapter: string
}

/** Of the sealed merged model at `folder`; `quantized` has its matrices in Q8_0. SourceInvalid for a tokenizer that llama.cpp has no way for. */
export async function readMergedAsGguf(folder: string, quantized: boolean): Promise<GgufModel> {
  const { base, adapter } = await verifySealed(folder)
  if (typeof base !== 'string' || typeof adapter !== 'string')
    throw new JobFailure('SourceInvalid', `${folder}: its manifest names no base and adapter; expected a merged model`)
  const opened = await openModel(folder)
  const tokenizer = await ggufTokenizerMetadata(join(folder, 'tokenizer.json'), opened)
  const facts = { 'general.name': adapter, 'humanizer.adapter.digest': adapter, 'humanizer.base.digest': base }
  return { base, adapter, read: () => encodeModel(opened, { ...facts, ...tokenizer }, quantized) }
}

/** The file of these tensors; `metadata` is what it says beside its architecture. */
export async function* encodeModel(
  { architecture, ggmlArchitecture, tensors }: Pick<OpenedModel, 'architecture' | 'ggmlArchitecture' | 'tensors'>,
  metadata: GgufMetadata,
  quantized: boolean,
): AsyncGenerator<Uint8Array> {
  const planned = tensors.map((source) => plan(source, quantized))
  const factors = ropeFactors(architecture)
  const entries: GgufEntry[] = planned.map(({ source, type, bytes }) => ({
    name: ggmlName(source.name),
    type: types[type].type,
    shape: source.shape,
    bytes,
  }))
  if (factors)
    entries.push({ name: ropeFactorsName, type: ggmlF32, shape: [factors.length], bytes: factors.byteLength })
  const fileType = quantized ? types.Q8_0.fileType : types[plainTypeOf(tensors.find(isMatrix) ?? tensors[0]!)].fileType
  const all = { ...architectureMetadata(ggmlArchitecture, architecture), 'general.file_type': fileType, ...metadata }
  yield* ggufHeader(all, entries)
  for (const { source, type, bytes } of planned) {
    const heads = interleavesHeads(ggmlArchitecture) ? headsOf(source.name, architecture) : undefined
    for await (const piece of rowsOf(source, heads)) yield converted(piece, plainTypeOf(source), type)
    yield paddingOf(bytes)
  }
  if (factors) {
    yield new Uint8Array(factors.buffer)
    yield paddingOf(factors.byteLength)
  }
}

function architectureMetadata(name: string, a: Architecture): GgufMetadata {
  return {
    'general.architecture': name,
    'general.type': 'model',
    'general.quantization_version': 2,
    [`${name}.block_count`]: a.layers,
    [`${name}.context_length`]: a.maxPositions,
    [`${name}.embedding_length`]: a.hiddenSize,
    [`${name}.feed_forward_length`]: a.intermediateSize,
    [`${name}.attention.head_count`]: a.heads,
    [`${name}.attention.head_count_kv`]: a.keyValueHeads,
    [`${name}.attention.key_length`]: a.headSize,
    [`${name}.attention.value_length`]: a.headSize,
    [`${name}.attention.layer_norm_rms_epsilon`]: { float: a.rmsNormEpsilon },
    [`${name}.rope.dimension_count`]: a.headSize,
    [`${name}.rope.freq_base`]: { float: a.ropeTheta },
    [`${name}.vocab_size`]: a.vocabularySize,
  }
}

const ropeFactors = ({ ropeScaling, headSize, ropeTheta }: Architecture): Float32Array | undefined =>
  ropeScaling && Float32Array.from(llama3Factors(ropeScaling, headSize, ropeTheta))

const isMatrix = ({ shape }: TensorSource): boolean => shape.length === 2

interface Planned {
  readonly source: TensorSource
  readonly type: keyof typeof types
  readonly bytes: number
}

/** llama.cpp adds and multiplies by vectors in F32 only. A matrix whose rows are no whole blocks stays as it is. */
function plan(source: TensorSource, quantized: boolean): Planned {
  const { shape } = source
  const numbers = shape.reduce((product, size) => product * size, 1)
  if (!isMatrix(source)) return { source, type: 'F32', bytes: numbers * 4 }
  if (quantized && shape[1]! % block === 0) return { source, type: 'Q8_0', bytes: (numbers / block) * blockBytes }
  return { source, type: plainTypeOf(source), bytes: source.bytes }
}

function plainTypeOf({ name, dtype, file }: TensorSource): Plain {
  if (dtype === 'F32' || dtype === 'F16' || dtype === 'BF16') return dtype
  throw new JobFailure('SourceInvalid', `${file}: ${name} is ${dtype}; expected BF16, F16 or F32`)
}

/** Near enough to this many bytes at a time. */
const pieceBytes = 1 << 22

/** The tensor's bytes in pieces of whole rows; one whose rows change places comes as a whole. */
async function* rowsOf(source: TensorSource, heads: number | undefined): AsyncGenerator<Uint8Array> {
  const rows = source.shape[0]!
  const row = source.bytes / rows
  const size = heads ? source.bytes : row * Math.max(1, Math.floor(pieceBytes / row))
  const { offset: start, bytes } = source
  let held: Uint8Array[] = []
  let length = 0
  for await (const read of createReadStream(source.file, { start, end: start + bytes - 1, highWaterMark: 1 << 20 })) {
    let piece = read as Uint8Array
    while (length + piece.byteLength >= size) {
      const whole = Buffer.concat([...held, piece.subarray(0, size - length)])
      yield heads ? interleaveHalves(whole, heads, rows) : whole
      piece = piece.subarray(size - length)
      held = []
      length = 0
    }
    held.push(piece)
    length += piece.byteLength
  }
  if (length > 0) yield Buffer.concat(held)
}

function converted(bytes: Uint8Array, from: Plain, to: keyof typeof types): Uint8Array {
  if (from === to) return bytes
  const numbers = floats(bytes, from)
  return to === 'Q8_0' ? quantize(numbers) : new Uint8Array(numbers.buffer)
}

function floats(bytes: Uint8Array, type: Plain): Float32Array {
  const { buffer } = new Uint8Array(bytes) // a copy, aligned
  if (type === 'F32') return new Float32Array(buffer)
  if (type === 'F16') return Float32Array.from(new Float16Array(buffer))
  return new Float32Array(Uint32Array.from(new Uint16Array(buffer), (bits) => bits << 16).buffer)
}

/** quantize_row_q8_0_ref of ggml-quants.c: the scale is the largest magnitude over 127, computed in F32. */
function quantize(numbers: Float32Array): Uint8Array {
  const out = new Uint8Array((numbers.length / block) * blockBytes)
  const view = new DataView(out.buffer)
  for (let at = 0, to = 0; at < numbers.length; at += block, to += blockBytes) {
    let largest = 0
    for (let i = 0; i < block; i++) largest = Math.max(largest, Math.abs(numbers[at + i]!))
    const scale = Math.fround(largest / 127)
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale)
    view.setFloat16(to, scale, true)
    for (let i = 0; i < block; i++) {
      const value = Math.fround(numbers[at + i]! * inverse)
      view.setInt8(to + 2 + i, Math.sign(value) * Math.round(Math.abs(value))) // halves away from zero, as roundf does
    }
  }
  return out
}
