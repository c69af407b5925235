/** Writes the GGUF container that gguf.ts reads: version 3, little-endian, 32-byte alignment. */

/** A plain number is an unsigned 32-bit one. */
export type GgufMetadata = Readonly<
  Record<
    string,
    | string
    | boolean
    | number
    | { readonly float: number }
    | { readonly floats: readonly number[] }
    | readonly string[]
    | readonly number[]
  >
>

/** A tensor to be written. Dimensions slowest first, as Hugging Face writes them; `type` is ggml's number. */
export interface GgufWeights {
  readonly name: string
  readonly type: number
  readonly shape: readonly number[]
  readonly data: Uint8Array
}

/** ggml's number of float32. */
export const ggmlF32 = 0

const alignment = 32

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}
const f32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return bytes
}
const string = (text: string): Buffer => Buffer.concat([u64(Buffer.byteLength(text)), Buffer.from(text)])

function value(v: GgufMetadata[string]): Buffer {
  if (typeof v === 'string') return Buffer.concat([u32(8), string(v)])
  if (typeof v === 'boolean') return Buffer.concat([u32(7), Buffer.of(v ? 1 : 0)])
  if (typeof v === 'number') return Buffer.concat([u32(4), u32(v)])
  if ('float' in v) return Buffer.concat([u32(6), f32(v.float)])
  if ('floats' in v) return Buffer.concat([u32(9), u32(6), u64(v.floats.length), ...v.floats.map(f32)])
  const items = v.map((item) => (typeof item === 'string' ? string(item) : u32(item)))
  return Buffer.concat([u32(9), u32(typeof v[0] === 'string' ? 8 : 5), u64(v.length), ...items])
}

/** What follows so many bytes of data. */
export const paddingOf = (length: number): Buffer => Buffer.alloc((alignment - (length % alignment)) % alignment)

/** A tensor in the table; `bytes` of its data follow elsewhere. */
export type GgufEntry = Omit<GgufWeights, 'data'> & { readonly bytes: number }

/** Everything before the data, which follows in the order of the table, each tensor with its padding. */
export function ggufHeader(metadata: GgufMetadata, tensors: readonly GgufEntry[]): Uint8Array[] {
  let offset = 0
  const table: Buffer[] = []
  for (const { name, shape, type, bytes } of tensors) {
    const sizes = shape.toReversed().map(u64)
    table.push(string(name), u32(sizes.length), ...sizes, u32(type), u64(offset))
    offset += bytes + paddingOf(bytes).byteLength
  }
  const entries = Object.entries(metadata)
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(entries.length),
    ...entries.flatMap(([key, v]) => [string(key), value(v)]),
    ...table,
  ])
  return [header, paddingOf(header.byteLength)]
}

/** The file in pieces, without a copy of the tensors' data. Its bytes depend on the arguments alone. */
export function encodeGguf(metadata: GgufMetadata, tensors: readonly GgufWeights[]): Uint8Array[] {
  const entries = tensors.map(({ data, ...tensor }) => ({ ...tensor, bytes: data.byteLength }))
  return [...ggufHeader(metadata, entries), ...tensors.flatMap(({ data }) => [data, paddingOf(data.byteLength)])]
}

/**
 * llama.cpp's order of the rows of a Llama's q and k: of each head, row i and row i + half stand next to each other.
 * convert_hf_to_gguf.py does the same to weights (LlamaModel.permute).
 */
export function interleaveHalves(data: Uint8Array, heads: number, rows: number): Uint8Array {
  const row = data.byteLength / rows
  const headRows = rows / heads
  const out = new Uint8Array(data.byteLength)
  for (let r = 0; r < rows; r++) {
    const within = r % headRows
    const from = r - within + (within % 2) * (headRows / 2) + Math.floor(within / 2)
    out.set(data.subarray(from * row, (from + 1) * row), r * row)
  }
  return out
}
