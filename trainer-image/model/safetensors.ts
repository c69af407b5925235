/**
 * The safetensors format: u64 little-endian length of a JSON header, the header, then the tensors' bytes.
 * Headers come from strangers, so every number is checked against the file before it is used: a bad file is a
 * SourceInvalid failure that names the file, the tensor and what was expected, never a crash or a huge allocation.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { JobFailure } from '../job/failure.ts'

const BITS = { F64: 64, F32: 32, F16: 16, BF16: 16, I64: 64, I32: 32, I16: 16, I8: 8, U8: 8, BOOL: 8 } as const

/** Element types that this project reads or writes. */
export type SafetensorsDtype = keyof typeof BITS

/** A tensor where it lies in its file. */
export interface StoredTensor {
  readonly name: string
  readonly dtype: SafetensorsDtype
  readonly shape: readonly number[]
  /** Bytes from the start of the file. */
  readonly offset: number
  readonly bytes: number
}

export interface SafetensorsFile {
  readonly path: string
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, StoredTensor>
}

/** A tensor to be written; `data` is its little-endian bytes, row-major. */
export interface TensorBytes {
  readonly name: string
  readonly dtype: SafetensorsDtype
  readonly shape: readonly number[]
  readonly data: Uint8Array
}

/** The same limit as the reference implementation: 100 MB of header. */
const MAX_HEADER_BYTES = 100_000_000
/** No model has tensors of more dimensions; keeps products of sizes bounded. */
const MAX_DIMENSIONS = 8

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const isRange = (value: unknown): value is [number, number] =>
  Array.isArray(value) && value.length === 2 && value.every(isCount) && value[0]! <= value[1]!

/** Bytes of a tensor of this type and shape; NaN when the product is not a safe integer. */
export function tensorBytes(dtype: SafetensorsDtype, shape: readonly number[]): number {
  const bytes = shape.reduce((product, size) => product * size, BITS[dtype] / 8)
  return Number.isSafeInteger(bytes) ? bytes : Number.NaN
}

/**
 * Validates a header (the JSON after the length) of a file of `fileBytes` bytes. Checked: JSON shape, element types, shapes against byte
 * ranges, ranges inside the file, no overlap and no gap, no byte after the last tensor.
 */
export function parseSafetensorsHeader(path: string, header: Uint8Array, fileBytes: number): SafetensorsFile {
  const bad = (message: string) => new JobFailure('SourceInvalid', `${path}: ${message}`)
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(header))
  } catch (error) {
    throw new JobFailure('SourceInvalid', `${path}: the safetensors header is not JSON: ${(error as Error).message}`)
  }
  if (!isRecord(json)) throw bad('the safetensors header is not a JSON object')
  const dataStart = 8 + header.byteLength
  const dataBytes = fileBytes - dataStart
  const metadata: Record<string, string> = {}
  const tensors: StoredTensor[] = []
  for (const [name, entry] of Object.entries(json)) {
    if (!isRecord(entry)) throw bad(`header entry "${name}" is not an object`)
    if (name === '__metadata__') {
      for (const [key, value] of Object.entries(entry)) if (typeof value === 'string') metadata[key] = value
      continue
    }
    const { dtype, shape, data_offsets: range } = entry
    if (typeof dtype !== 'string' || !Object.hasOwn(BITS, dtype))
      throw bad(`tensor ${name} has dtype ${JSON.stringify(dtype)}; supported are ${Object.keys(BITS).join(', ')}`)
    if (!Array.isArray(shape) || shape.length > MAX_DIMENSIONS || !shape.every(isCount))
      throw bad(`tensor ${name} has shape ${JSON.stringify(shape)}; expected up to ${MAX_DIMENSIONS} sizes`)
    if (!isRange(range)) throw bad(`tensor ${name} has data_offsets ${JSON.stringify(range)}; expected [begin, end]`)
    const [begin, end] = range
    if (end > dataBytes)
      throw bad(`tensor ${name} ends at byte ${dataStart + end} but the file has ${fileBytes}: the file is truncated`)
    const expected = tensorBytes(dtype as SafetensorsDtype, shape)
    if (end - begin !== expected)
      throw bad(`tensor ${name} (${dtype} [${shape}]) holds ${end - begin} bytes; its shape needs ${expected}`)
    tensors.push({ name, dtype: dtype as SafetensorsDtype, shape, offset: dataStart + begin, bytes: end - begin })
  }
  let free = dataStart
  for (const tensor of tensors.toSorted((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (tensor.offset !== free)
      throw bad(
        `tensor ${tensor.name} begins at byte ${tensor.offset}; expected ${free}: tensors overlap or leave a gap`,
      )
    free = tensor.offset + tensor.bytes
  }
  if (free !== fileBytes) throw bad(`the last tensor ends at byte ${free} but the file has ${fileBytes}`)
  return { path, metadata, tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])) }
}

/** Reads and validates the header of one .safetensors file; no tensor data is read. */
export async function readSafetensorsHeader(path: string): Promise<SafetensorsFile> {
  const file = await open(path)
  try {
    const fileBytes = (await file.stat()).size
    const lengthBytes = Buffer.alloc(8)
    if (fileBytes < 8) throw new JobFailure('SourceInvalid', `${path}: ${fileBytes} bytes are too few for safetensors`)
    await readFully(file, lengthBytes, 0, path)
    const headerBytes = lengthBytes.readBigUInt64LE()
    if (headerBytes > BigInt(Math.min(MAX_HEADER_BYTES, fileBytes - 8)))
      throw new JobFailure(
        'SourceInvalid',
        `${path}: the header claims ${headerBytes} bytes but the file has ${fileBytes} and the limit is ${MAX_HEADER_BYTES}`,
      )
    const header = Buffer.alloc(Number(headerBytes))
    await readFully(file, header, 8, path)
    return parseSafetensorsHeader(path, header, fileBytes)
  } finally {
    await file.close()
  }
}

/**
 * Reads one tensor and widens it to float32; integer tensors are refused. `handle` is the open file, for a caller that reads many; without it
 * the file is opened for this tensor.
 */
export async function readFloats(file: SafetensorsFile, name: string, handle?: FileHandle): Promise<Float32Array> {
  const bytes = await readBytes(file, name, handle)
  return widen(file.path, file.tensors.get(name)!, bytes)
}

/** Reads one tensor as it is; `handle` as above. */
export async function readBytes(file: SafetensorsFile, name: string, handle?: FileHandle): Promise<Uint8Array> {
  const tensor = file.tensors.get(name)
  if (!tensor) throw new JobFailure('SourceInvalid', `${file.path}: tensor ${name} is missing`)
  const bytes = new Uint8Array(tensor.bytes)
  const opened = handle ?? (await open(file.path))
  try {
    await readFully(opened, bytes, tensor.offset, file.path)
  } finally {
    if (!handle) await opened.close()
  }
  return bytes
}

function widen(path: string, { name, dtype }: StoredTensor, bytes: Uint8Array): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes.buffer)
  if (dtype === 'F64') return Float32Array.from(new Float64Array(bytes.buffer))
  if (dtype === 'BF16') {
    const words = Uint32Array.from(new Uint16Array(bytes.buffer), (half) => half << 16)
    return new Float32Array(words.buffer)
  }
  if (dtype === 'F16') {
    const view = new DataView(bytes.buffer)
    return Float32Array.from({ length: bytes.byteLength / 2 }, (_, i) => halfToFloat(view.getUint16(2 * i, true)))
  }
  throw new JobFailure('SourceInvalid', `${path}: tensor ${name} has dtype ${dtype}; expected F32, F16, BF16 or F64`)
}

/** The float that IEEE binary16 bits stand for. */
export function halfToFloat(bits: number): number {
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  const magnitude =
    exponent === 31
      ? fraction
        ? Number.NaN
        : Infinity
      : exponent
        ? (1 + fraction / 1024) * 2 ** (exponent - 15)
        : fraction * 2 ** -24
  return bits & 0x8000 ? -magnitude : magnitude
}

/**
 * The file as chunks to write one after another: header, then each tensor's bytes. The bytes depend only on the arguments: widest
 * element first, then by name, as the reference implementation orders them; the header is padded with spaces to 8 bytes.
 */
export function encodeSafetensors(
  tensors: readonly TensorBytes[],
  metadata: Record<string, string> = {},
): Uint8Array[] {
  const ordered = tensors.toSorted((a, b) => BITS[b.dtype] - BITS[a.dtype] || (a.name < b.name ? -1 : 1))
  const header: Record<string, unknown> = {}
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata
  let end = 0
  for (const { name, dtype, shape, data } of ordered) {
    if (Object.hasOwn(header, name)) throw new RangeError(`tensor ${name} is given twice`)
    if (data.byteLength !== tensorBytes(dtype, shape))
      throw new RangeError(`tensor ${name} (${dtype} [${shape}]) has ${data.byteLength} bytes`)
    header[name] = { dtype, shape, data_offsets: [end, end + data.byteLength] }
    end += data.byteLength
  }
  const json = Buffer.from(JSON.stringify(header))
  const padded = Buffer.alloc(Math.ceil(json.byteLength / 8) * 8, ' ')
  json.copy(padded)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(padded.byteLength))
  return [length, padded, ...ordered.map((tensor) => tensor.data)]
}

/** Fills `into` from `position`; a file that ends earlier is SourceInvalid. */
export async function readFully(file: FileHandle, into: Uint8Array, position: number, path: string): Promise<void> {
  for (let done = 0; done < into.byteLength; ) {
    const { bytesRead } = await file.read(into, done, into.byteLength - done, position + done)
    if (bytesRead === 0)
      throw new JobFailure(
        'SourceInvalid',
        `${path}: ends at byte ${position + done}; expected ${position + into.byteLength}`,
      )
    done += bytesRead
  }
}
