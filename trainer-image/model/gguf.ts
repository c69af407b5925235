/**
 * The GGUF container (versions 2 and 3): metadata, a tensor table, aligned tensor data. As with safetensors, every number is checked before
 * it is used; memory grows only with bytes that are really in the file.
 */
import { open } from 'node:fs/promises'
import { JobFailure } from '../job/failure.ts'
import { readFully } from './safetensors.ts'

/** Elements and bytes of one block of each tensor type that the native engine reads, by ggml's type number. */
const TENSOR_TYPES = {
  0: { dtype: 'F32', elements: 1, bytes: 4 },
  1: { dtype: 'F16', elements: 1, bytes: 2 },
  2: { dtype: 'Q4_0', elements: 32, bytes: 18 },
  3: { dtype: 'Q4_1', elements: 32, bytes: 20 },
  8: { dtype: 'Q8_0', elements: 32, bytes: 34 },
  14: { dtype: 'Q6_K', elements: 256, bytes: 210 },
  30: { dtype: 'BF16', elements: 1, bytes: 2 },
} as const

/** Names for the types that we refuse, so that the message says what the file holds. */
const OTHER_TYPES: Readonly<Record<number, string>> = {
  ...{ 6: 'Q5_0', 7: 'Q5_1', 9: 'Q8_1', 10: 'Q2_K', 11: 'Q3_K', 12: 'Q4_K', 13: 'Q5_K', 15: 'Q8_K', 16: 'IQ2_XXS' },
  ...{ 17: 'IQ2_XS', 18: 'IQ3_XXS', 19: 'IQ1_S', 20: 'IQ4_NL', 21: 'IQ3_S', 22: 'IQ2_S', 23: 'IQ4_XS', 39: 'MXFP4' },
}

export type GgufDtype = (typeof TENSOR_TYPES)[keyof typeof TENSOR_TYPES]['dtype']

/** 64-bit integers that a double cannot hold stay bigint. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[]

export interface GgufTensor {
  /** ggml's name, such as blk.0.attn_q.weight. */
  readonly name: string
  readonly dtype: GgufDtype
  /** Slowest dimension first, the reverse of ggml's order and the same as Hugging Face's. */
  readonly shape: readonly number[]
  /** Bytes from the start of the file. */
  readonly offset: number
  readonly bytes: number
}

export interface GgufFile {
  readonly path: string
  readonly metadata: ReadonlyMap<string, GgufValue>
  readonly tensors: ReadonlyMap<string, GgufTensor>
}

const MAX_HEADER_BYTES = 256 * 2 ** 20
const FIRST_READ_BYTES = 4 * 2 ** 20
const MAX_DIMENSIONS = 4

/** The header goes on behind the bytes read so far. */
class NeedsMore extends Error {}

/** Reads and validates metadata and tensor table; no tensor data is read. */
export async function readGguf(path: string): Promise<GgufFile> {
  const file = await open(path)
  try {
    const fileBytes = (await file.stat()).size
    for (let size = FIRST_READ_BYTES; ; size *= 4) {
      const bytes = Buffer.alloc(Math.min(size, fileBytes, MAX_HEADER_BYTES))
      await readFully(file, bytes, 0, path)
      try {
        return parseGguf(path, bytes, fileBytes)
      } catch (error) {
        if (!(error instanceof NeedsMore)) throw error
        if (bytes.byteLength === fileBytes)
          throw new JobFailure(
            'SourceInvalid',
            `${path}: the GGUF header goes on behind the ${fileBytes} bytes of the file`,
          )
        if (bytes.byteLength === MAX_HEADER_BYTES)
          throw new JobFailure('SourceInvalid', `${path}: the GGUF header has more than ${MAX_HEADER_BYTES} bytes`)
      }
    }
  } finally {
    await file.close()
  }
}

function parseGguf(path: string, bytes: Buffer, fileBytes: number): GgufFile {
  const bad = (message: string) => new JobFailure('SourceInvalid', `${path}: ${message}`)
  const read = new Cursor(bytes, bad)
  if (read.take(4).toString('latin1') !== 'GGUF') throw bad('does not begin with "GGUF"')
  const version = read.u32()
  if (version !== 2 && version !== 3)
    throw bad(`GGUF version ${version}; supported are 2 and 3 in little-endian byte order`)
  // A tensor's entry has at least 24 bytes and a metadata entry 13, so larger counts cannot be true.
  const tensorCount = read.count(fileBytes / 24, 'tensor count')
  const metadataCount = read.count(fileBytes / 13, 'metadata count')
  const metadata = new Map<string, GgufValue>()
  for (let i = 0; i < metadataCount; i++) {
    const key = read.string()
    if (metadata.has(key)) throw bad(`metadata key "${key}" stands twice`)
    metadata.set(key, read.value(read.u32(), key))
  }
  const alignment = metadata.get('general.alignment') ?? 32
  if (typeof alignment !== 'number' || alignment < 8 || alignment > 2 ** 20 || !Number.isInteger(Math.log2(alignment)))
    throw bad(`general.alignment is ${alignment}; expected a power of two from 8`)
  const table = Array.from({ length: tensorCount }, () => tensorEntry(read, bad))
  const dataStart = Math.ceil(read.position / alignment) * alignment
  const tensors = table.map((tensor) => ({ ...tensor, offset: dataStart + tensor.offset }))
  checkLayout(tensors, alignment, fileBytes, bad)
  return { path, metadata, tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])) }
}

/** `offset` is still relative to the start of the tensor data. */
function tensorEntry(read: Cursor, bad: (message: string) => Error): GgufTensor {
  const name = read.string()
  const dimensions = read.u32()
  if (dimensions < 1 || dimensions > MAX_DIMENSIONS)
    throw bad(`tensor ${name} has ${dimensions} dimensions; expected 1 to ${MAX_DIMENSIONS}`)
  const sizes = Array.from({ length: dimensions }, () => read.count(2 ** 40, `a size of tensor ${name}`))
  const number = read.u32()
  if (!Object.hasOwn(TENSOR_TYPES, number))
    throw bad(
      `tensor ${name} has type ${OTHER_TYPES[number] ?? number}; supported are ` +
        Object.values(TENSOR_TYPES)
          .map(({ dtype }) => dtype)
          .join(', '),
    )
  const type = TENSOR_TYPES[number as keyof typeof TENSOR_TYPES]
  const elements = sizes.reduce((product, size) => product * size, 1)
  const row = sizes[0] ?? 0
  if (!Number.isSafeInteger(elements) || elements === 0 || row % type.elements !== 0)
    throw bad(
      `tensor ${name} (${type.dtype} [${sizes.toReversed()}]) has rows of ${row}; expected multiples of ${type.elements}`,
    )
  const offset = read.count(2 ** 50, `the offset of tensor ${name}`)
  return { name, dtype: type.dtype, shape: sizes.reverse(), offset, bytes: (elements / type.elements) * type.bytes }
}

function checkLayout(
  tensors: readonly GgufTensor[],
  alignment: number,
  fileBytes: number,
  bad: (message: string) => Error,
) {
  const names = new Set<string>()
  let free = 0
  for (const { name, offset, bytes } of tensors.toSorted((a, b) => a.offset - b.offset)) {
    if (names.has(name)) throw bad(`tensor ${name} stands twice`)
    names.add(name)
    if (offset % alignment !== 0)
      throw bad(`tensor ${name} begins at byte ${offset}; expected a multiple of ${alignment}`)
    if (offset < free) throw bad(`tensor ${name} begins at byte ${offset}, inside the tensor before it`)
    free = offset + bytes
    if (free > fileBytes)
      throw bad(`tensor ${name} ends at byte ${free} but the file has ${fileBytes}: the file is truncated`)
  }
}

/** Bytes of a value of each type; of a string, its smallest. */
const VALUE_BYTES: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  8: 8,
  10: 8,
  11: 8,
  12: 8,
}
const STRING = 8
const ARRAY = 9

/** Reads little-endian values one after another. */
class Cursor {
  position = 0
  readonly #bytes: Buffer
  readonly #bad: (message: string) => Error

  constructor(bytes: Buffer, bad: (message: string) => Error) {
    this.#bytes = bytes
    this.#bad = bad
  }

  take(length: number): Buffer {
    if (length > this.#bytes.byteLength - this.position) throw new NeedsMore()
    this.position += length
    return this.#bytes.subarray(this.position - length, this.position)
  }

  u32(): number {
    return this.take(4).readUInt32LE()
  }

  /** A 64-bit count that may be at most `limit`. */
  count(limit: number, what: string): number {
    const value = this.take(8).readBigUInt64LE()
    if (value > BigInt(Math.floor(limit))) throw this.#bad(`${what} is ${value}; the file cannot hold that`)
    return Number(value)
  }

  string(): string {
    return this.take(this.count(MAX_HEADER_BYTES, 'the length of a string')).toString('utf8')
  }

  value(type: number, key: string): GgufValue {
    if (type === STRING) return this.string()
    if (type === ARRAY) return this.#array(key)
    const bytes = this.take(VALUE_BYTES[type] ?? this.#unknown(type, key))
    switch (type) {
      case 0:
        return bytes.readUInt8()
      case 1:
        return bytes.readInt8()
      case 2:
        return bytes.readUInt16LE()
      case 3:
        return bytes.readInt16LE()
      case 4:
        return bytes.readUInt32LE()
      case 5:
        return bytes.readInt32LE()
      case 6:
        return bytes.readFloatLE()
      case 7:
        return bytes.readUInt8() !== 0
      case 10:
        return narrow(bytes.readBigUInt64LE())
      case 11:
        return narrow(bytes.readBigInt64LE())
      default:
        return bytes.readDoubleLE()
    }
  }

  #array(key: string): readonly GgufValue[] {
    const type = this.u32()
    if (type === ARRAY) throw this.#bad(`metadata "${key}" is a list of lists; expected a list of values`)
    const size = VALUE_BYTES[type] ?? this.#unknown(type, key)
    const count = this.count(MAX_HEADER_BYTES / size, `the length of list "${key}"`)
    // Fails before the list is built when its values are not all here.
    if (count * size > this.#bytes.byteLength - this.position) throw new NeedsMore()
    const values: GgufValue[] = []
    for (let i = 0; i < count; i++) values.push(this.value(type, key))
    return values
  }

  #unknown(type: number, key: string): never {
    throw this.#bad(`metadata "${key}" has value type ${type}; expected 0 to 12`)
  }
}

const narrow = (value: bigint): number | bigint =>
  value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value
