/**
 * GGUF weights in the engine. Every block format is decoded here a second time, as plainly as ggml's reference does it; a model of random
 * blocks must then give the same logits, bit for bit, as its float32 twin. All products are exact in float32, so no tolerance is needed.
 */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openModel } from '../../trainer-image/model/open.ts'
import { encodeSafetensors, halfToFloat, parseSafetensorsHeader } from '../../trainer-image/model/safetensors.ts'
import { loadModel } from '../../trainer-image/native/index.ts'
import { encodeGguf, type GgufWeights, tinyLlamaGguf } from '../fixtures/gguf.ts'

const folder = fileURLToPath(new URL('../fixtures/tiny-llama', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'gguf-parity-'))
after(() => rmSync(root, { recursive: true }))

const HIDDEN = 256
const VOCABULARY = 600

let state = 7
const random = (limit: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * limit)
}
const half = (block: Buffer, at: number): number => halfToFloat(block.readUInt16LE(at))
/** A half float of about 0.0005 to 0.002, so that weights have an ordinary size. */
const smallHalf = (): number => 0x1000 + random(0x800)

interface Format {
  readonly name: string
  readonly type: number
  readonly elements: number
  readonly bytes: number
  /** Sets the block's scales; the rest stays random. */
  readonly scale: (block: Buffer) => void
  readonly decode: (block: Buffer) => number[]
}

const nibbles = (block: Buffer, from: number): number[] => {
  const bytes = [...block.subarray(from, from + 16)]
  return [...bytes.map((byte) => byte & 15), ...bytes.map((byte) => byte >> 4)]
}

function decodeQ6K(block: Buffer): number[] {
  const d = half(block, 208)
  const values = new Array<number>(256)
  for (const part of [0, 1])
    for (let l = 0; l < 32; l++)
      for (const quarter of [0, 1, 2, 3]) {
        const low = block[part * 64 + l + (quarter % 2) * 32]!
        const high = block[128 + part * 32 + l]!
        const q = ((quarter < 2 ? low & 15 : low >> 4) | (((high >> (2 * quarter)) & 3) << 4)) - 32
        const scale = block.readInt8(192 + part * 8 + quarter * 2 + Math.floor(l / 16))
        values[part * 128 + quarter * 32 + l] = d * scale * q
      }
  return values
}

const scaleAt = (at: number) => (block: Buffer) => void block.writeUInt16LE(smallHalf(), at)
const formats: readonly Format[] = [
  {
    name: 'F16',
    type: 1,
    elements: 1,
    bytes: 2,
    scale: (b) => void b.writeUInt16LE((random(2) << 15) | (0x2000 + random(0x1000))),
    decode: (b) => [half(b, 0)],
  },
  {
    name: 'BF16',
    type: 30,
    elements: 1,
    bytes: 2,
    scale: (b) => void b.writeUInt16LE((random(2) << 15) | (0x3c00 + random(0x100))),
    decode: (b) => [new DataView(Uint8Array.of(0, 0, b[0]!, b[1]!).buffer).getFloat32(0, true)],
  },
  {
    name: 'Q8_0',
    type: 8,
    elements: 32,
    bytes: 34,
    scale: scaleAt(0),
    decode: (b) => Array.from({ length: 32 }, (_, i) => half(b, 0) * b.readInt8(2 + i)),
  },
  {
    name: 'Q4_0',
    type: 2,
    elements: 32,
    bytes: 18,
    scale: scaleAt(0),
    decode: (b) => nibbles(b, 2).map((q) => (q - 8) * half(b, 0)),
  },
  {
    name: 'Q4_1',
    type: 3,
    elements: 32,
    bytes: 20,
    scale: (b) => {
      scaleAt(0)(b)
      b.writeUInt16LE(0x8000 | smallHalf(), 2)
    },
    decode: (b) => nibbles(b, 4).map((q) => q * half(b, 0) + half(b, 2)),
  },
  {
    name: 'Q6_K',
    type: 14,
    elements: 256,
    bytes: 210,
    scale: (b) => void b.writeUInt16LE(0x0100 + random(0x80), 208),
    decode: decodeQ6K,
  },
]

/** Random blocks and the float32 values they stand for. */
function weights(name: string, shape: number[], format: Format): { blocks: GgufWeights; floats: GgufWeights } {
  const elements = shape.reduce((a, b) => a * b)
  const data = Buffer.from(Array.from({ length: (elements / format.elements) * format.bytes }, () => random(256)))
  const values = new Float32Array(elements)
  for (let block = 0; block * format.elements < elements; block++) {
    const bytes = data.subarray(block * format.bytes, (block + 1) * format.bytes)
    format.scale(bytes)
    values.set(format.decode(bytes), block * format.elements)
  }
  assert.ok(values.every(Number.isFinite))
  return {
    blocks: { name, type: format.type, shape, data },
    floats: { name, type: 0, shape, data: new Uint8Array(values.buffer) },
  }
}

const linear = [
  ['attn_q', HIDDEN],
  ['attn_k', HIDDEN / 2],
  ['attn_v', HIDDEN / 2],
  ['attn_output', HIDDEN],
  ['ffn_gate', HIDDEN],
  ['ffn_up', HIDDEN],
  ['ffn_down', HIDDEN],
] as const

const ones = (name: string): GgufWeights => ({
  name,
  type: 0,
  shape: [HIDDEN],
  data: new Uint8Array(new Float32Array(HIDDEN).fill(1).buffer),
})

async function logits(path: string): Promise<Float32Array> {
  const { architecture, tensors, tokenizer } = await openModel(path)
  const quantization = { type: 'None', blockSize: 64, doubleQuantization: false } as const
  const model = await loadModel(architecture, tensors, { quantization, threads: 1 })
  const sequence = model.openSequence(undefined, 64)
  try {
    const [result] = await model.forward([{ sequence, tokens: tokenizer.encode('The old man and the sea, 1952.') }])
    return result!
  } finally {
    sequence.close()
    model.close()
  }
}

for (const format of formats)
  test(`${format.name} blocks give the logits of the numbers they stand for, bit for bit`, async () => {
    const { metadata } = tinyLlamaGguf(folder)
    const shape = { 'llama.block_count': 1, 'llama.embedding_length': HIDDEN, 'llama.feed_forward_length': HIDDEN }
    const pairs = [
      weights('token_embd.weight', [VOCABULARY, HIDDEN], format),
      ...linear.map(([name, rows]) => weights(`blk.0.${name}.weight`, [rows, HIDDEN], format)),
    ]
    const norms = ['blk.0.attn_norm.weight', 'blk.0.ffn_norm.weight', 'output_norm.weight'].map(ones)
    const paths = (['blocks', 'floats'] as const).map((kind) => {
      const path = join(root, `${format.name}-${kind}.gguf`)
      writeFileSync(path, encodeGguf({ ...metadata, ...shape }, [...pairs.map((pair) => pair[kind]), ...norms]))
      return path
    })
    const [fromBlocks, fromFloats] = [await logits(paths[0]!), await logits(paths[1]!)]
    assert.ok(fromFloats.every(Number.isFinite))
    assert.ok(new Set(fromFloats).size > 500, 'logits differ from each other')
    assert.deepEqual(fromBlocks, fromFloats)
  })

test('the tiny Llama gives the same logits from its folder and from a GGUF with its rows interleaved', async () => {
  const { metadata, tensors } = tinyLlamaGguf(folder)
  const path = join(root, 'tiny.gguf')
  writeFileSync(path, encodeGguf(metadata, tensors))
  assert.deepEqual(await logits(path), await logits(folder))
})

/** The tiny Llama with random biases, as a folder of another family. */
function biased(name: string, biases: readonly (readonly [string, number])[], config: object): string {
  const path = join(root, name)
  cpSync(folder, path, { recursive: true })
  const file = join(path, 'model.safetensors')
  const bytes = readFileSync(file)
  const { tensors } = parseSafetensorsHeader(
    'tiny',
    bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())),
    bytes.byteLength,
  )
  const weights = [...tensors.values()].map((t) => ({ ...t, data: bytes.subarray(t.offset, t.offset + t.bytes) }))
  const added = [0, 1].flatMap((layer) =>
    biases.map(([module, size]) => ({
      name: `model.layers.${layer}.self_attn.${module}.bias`,
      dtype: 'BF16' as const,
      shape: [size],
      data: Buffer.concat(Array.from({ length: size }, () => Buffer.of(random(256), random(2) ? 0x3e : 0xbe))),
    })),
  )
  writeFileSync(file, Buffer.concat(encodeSafetensors([...weights, ...added])))
  const json = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'))
  writeFileSync(join(path, 'config.json'), JSON.stringify({ ...json, ...config }))
  return path
}

const qkv = [
  ['q_proj', 64],
  ['k_proj', 32],
  ['v_proj', 32],
] as const
const families = [
  { architecture: 'qwen2', biases: qkv, config: { architectures: ['Qwen2ForCausalLM'] } },
  { architecture: 'llama', biases: [...qkv, ['o_proj', 64] as const], config: { attention_bias: true } },
] as const
for (const { architecture, biases, config } of families)
  test(`biases of ${biases.length} modules: a ${architecture} gives the same logits from its folder and from a GGUF`, async () => {
    const path = biased(architecture, biases, config)
    const gguf = tinyLlamaGguf(path, architecture)
    const file = join(root, `${architecture}.gguf`)
    writeFileSync(file, encodeGguf(gguf.metadata, gguf.tensors))
    const fromFolder = await logits(path)
    assert.deepEqual(await logits(file), fromFolder)
    assert.notDeepEqual(await logits(folder), fromFolder)
  })
