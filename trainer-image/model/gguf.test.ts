import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { encodeGguf, type GgufWeights, tinyLlamaGguf } from '../../test/fixtures/gguf.ts'
import { readGguf } from './gguf.ts'
import { llama3Factors } from './gguf-llama.ts'
import { openModel } from './open.ts'

const folder = fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'gguf-'))
after(() => rmSync(root, { recursive: true }))
let files = 0
const write = (bytes: Uint8Array): string => {
  const path = join(root, `${files++}.gguf`)
  writeFileSync(path, bytes)
  return path
}
const zeros = (name: string, type: number, shape: number[], bytes: number): GgufWeights => ({
  name,
  type,
  shape,
  data: new Uint8Array(bytes),
})

const sizes = [
  { type: 0, dtype: 'F32', shape: [3, 5], bytes: 60 },
  { type: 1, dtype: 'F16', shape: [3, 5], bytes: 30 },
  { type: 30, dtype: 'BF16', shape: [3, 5], bytes: 30 },
  { type: 2, dtype: 'Q4_0', shape: [3, 64], bytes: 108 },
  { type: 3, dtype: 'Q4_1', shape: [3, 64], bytes: 120 },
  { type: 8, dtype: 'Q8_0', shape: [3, 64], bytes: 204 },
  { type: 14, dtype: 'Q6_K', shape: [3, 512], bytes: 1260 },
]
for (const { type, dtype, shape, bytes } of sizes)
  test(`a ${dtype} tensor [${shape}] has ${bytes} bytes and begins on 32`, async () => {
    const path = write(encodeGguf({}, [zeros('a', 0, [1], 4), zeros('b', type, shape, bytes)]))
    const { tensors } = await readGguf(path)
    const b = tensors.get('b')
    assert.deepEqual({ dtype: b?.dtype, shape: b?.shape, bytes: b?.bytes }, { dtype, shape, bytes })
    assert.equal(b!.offset % 32, 0)
  })

test('metadata of every kind is read', async () => {
  const path = write(encodeGguf({ s: 'ä', b: true, n: 7, f: { float: 0.5 }, l: ['x', ''], i: [1, 2] }, []))
  const { metadata } = await readGguf(path)
  assert.deepEqual(Object.fromEntries(metadata), { s: 'ä', b: true, n: 7, f: 0.5, l: ['x', ''], i: [1, 2] })
})

const patched = (bytes: Buffer, at: number, value: number, size = 4): Buffer => {
  bytes.writeUIntLE(value, at, size)
  return bytes
}
const one = () => encodeGguf({}, [zeros('w', 0, [2, 4], 32)])
const refusals = [
  { a_file: 'that is something else', bytes: Buffer.from('PK\x03\x04 and more'), says: /does not begin with "GGUF"/ },
  { a_file: 'of version 1', bytes: patched(one(), 4, 1), says: /GGUF version 1; supported are 2 and 3/ },
  { a_file: 'in big-endian byte order', bytes: patched(one(), 4, 0x03000000), says: /little-endian/ },
  {
    a_file: 'that claims more tensors than its bytes can hold',
    bytes: patched(one(), 8, 2 ** 40, 6),
    says: /tensor count is 1099511627776/,
  },
  {
    a_file: 'that claims more metadata than its bytes can hold',
    bytes: patched(one(), 16, 2 ** 40, 6),
    says: /metadata count/,
  },
  {
    a_file: 'with a type we do not read',
    bytes: encodeGguf({}, [zeros('w', 12, [1, 256], 144)]),
    says: /tensor w has type Q4_K; supported are F32/,
  },
  { a_file: 'with a type nobody knows', bytes: encodeGguf({}, [zeros('w', 99, [1, 256], 144)]), says: /type 99/ },
  {
    a_file: 'with rows that are no whole blocks',
    bytes: encodeGguf({}, [zeros('w', 8, [2, 48], 102)]),
    says: /rows of 48; expected multiples of 32/,
  },
  { a_file: 'with five dimensions', bytes: encodeGguf({}, [zeros('w', 0, [1, 1, 1, 1, 1], 4)]), says: /5 dimensions/ },
  {
    a_file: 'with one name twice',
    bytes: encodeGguf({}, [zeros('w', 0, [8], 32), zeros('w', 0, [8], 32)]),
    says: /tensor w stands twice/,
  },
  {
    a_file: 'whose last tensor is cut off',
    bytes: one().subarray(0, -8),
    says: /tensor w ends at byte \d+ but the file has \d+: the file is truncated/,
  },
  { a_file: 'that ends within its header', bytes: one().subarray(0, 40), says: /header goes on behind the 40 bytes/ },
  {
    a_file: 'with an odd alignment',
    bytes: encodeGguf({ 'general.alignment': 12 }, []),
    says: /general.alignment is 12/,
  },
]
for (const { a_file, bytes, says } of refusals)
  test(`a file ${a_file} is refused`, async () => {
    await assert.rejects(readGguf(write(bytes)), { reason: 'SourceInvalid', message: says })
  })

test('the tiny Llama as GGUF opens as the folder does: same architecture, tensors, ids and template', async () => {
  const { metadata, tensors } = tinyLlamaGguf(folder)
  const fromGguf = await openModel(write(encodeGguf(metadata, tensors)))
  const fromFolder = await openModel(folder)
  const { rmsNormEpsilon, ...architecture } = fromGguf.architecture
  assert.deepEqual({ ...architecture, rmsNormEpsilon: fromFolder.architecture.rmsNormEpsilon }, fromFolder.architecture)
  assert.ok(Math.abs(rmsNormEpsilon / 1e-5 - 1) < 1e-6, 'a float32 of 1e-5')
  const shapes = (model: typeof fromGguf) => model.tensors.map(({ name, shape, dtype }) => ({ name, shape, dtype }))
  assert.deepEqual(shapes(fromGguf), shapes(fromFolder))
  assert.deepEqual(fromGguf.generation, fromFolder.generation)
  const permuted = fromGguf.tensors.filter(({ unpermuteHeads }) => unpermuteHeads !== undefined)
  assert.deepEqual(
    permuted.map(({ name, unpermuteHeads }) => `${name.slice(13)} ${unpermuteHeads}`),
    [
      '0.self_attn.q_proj.weight 4',
      '0.self_attn.k_proj.weight 2',
      '1.self_attn.q_proj.weight 4',
      '1.self_attn.k_proj.weight 2',
    ],
  )
  const messages = [{ role: 'user', content: 'It’s 1984 — naïve 😀?' }] as const
  const options = { addGenerationPrompt: true, dateString: '2026-11-24' }
  const text = fromGguf.chatTemplate.render(messages, options)
  assert.equal(text, fromFolder.chatTemplate.render(messages, options))
  assert.deepEqual(fromGguf.tokenizer.encode(text), fromFolder.tokenizer.encode(text))
})

const preTokenizers = [
  { pre: 'gpt-2', words: ['I', "'", 'LL', ' pay', ' 12345', '!!', '\n', '\n', 'Don', "'t"] },
  { pre: 'smollm', words: ['I', "'", 'LL', ' pay', ' ', '1', '2', '3', '4', '5', '!!', '\n', '\n', 'Don', "'t"] },
  { pre: 'qwen2', words: ['I', "'LL", ' pay', ' ', '1', '2', '3', '4', '5', '!!\n\n', 'Don', "'t"] },
  { pre: 'llama-bpe', words: ['I', "'LL", ' pay', ' ', '123', '45', '!!\n\n', 'Don', "'t"] },
]
for (const { pre, words } of preTokenizers)
  test(`the pre-tokenizer "${pre}" cuts words where it should`, async () => {
    const { metadata, tensors } = tinyLlamaGguf(folder)
    // A token for every two neighbours in the text, so that only the cuts keep them apart.
    const text = "I'LL pay 12345!!\n\nDon't"
    const written = text.replaceAll(' ', 'Ġ').replaceAll('\n', 'Ċ')
    const prefixes = words.flatMap((word) => {
      const token = word.replaceAll(' ', 'Ġ').replaceAll('\n', 'Ċ')
      return Array.from({ length: token.length - 1 }, (_, i) => [token.slice(0, i + 1), token[i + 1]!] as const)
    })
    const across = Array.from({ length: written.length - 1 }, (_, i) => [written[i]!, written[i + 1]!] as const)
    const merges = [...new Set([...prefixes, ...across].map((pair) => pair.join(' ')))]
    const alphabet = (metadata['tokenizer.ggml.tokens'] as string[]).slice(0, 259)
    const tokens = [...new Set([...alphabet, ...merges.map((merge) => merge.replace(' ', ''))])]
    const path = write(
      encodeGguf(
        {
          ...metadata,
          'tokenizer.ggml.pre': pre,
          'tokenizer.ggml.tokens': tokens,
          'tokenizer.ggml.token_type': tokens.map((_, id) => (id < 3 ? 3 : 1)),
          'tokenizer.ggml.merges': merges,
        },
        tensors,
      ),
    )
    const { tokenizer } = await openModel(path)
    const { ends } = tokenizer.encodeWithOffsets(text)
    assert.deepEqual(
      [...ends].map((end, i) => text.slice(ends[i - 1] ?? 0, end)),
      words,
    )
  })

const changes: { a_model: string; change: (gguf: ReturnType<typeof tinyLlamaGguf>) => void; says: RegExp }[] = [
  {
    a_model: 'of another architecture',
    change: ({ metadata }) => (metadata['general.architecture'] = 'gemma2'),
    says: /architecture "gemma2" is not supported; supported are llama, qwen2/,
  },
  {
    a_model: 'with experts',
    change: ({ metadata }) => (metadata['llama.expert_count'] = 8),
    says: /mixture of experts/,
  },
  {
    a_model: 'with a tensor of something else',
    change: ({ tensors }) => tensors.push(zeros('blk.0.attn_q_norm.weight', 0, [16], 64)),
    says: /blk\.0\.attn_q_norm\.weight is not part of a Llama/,
  },
  {
    a_model: 'with a sliding window',
    change: ({ metadata }) => (metadata['llama.attention.sliding_window'] = 1024),
    says: /llama\.attention\.sliding_window is 1024; expected at least the context length 2048/,
  },
  {
    a_model: 'without a tensor',
    change: ({ tensors }) =>
      tensors.splice(
        tensors.findIndex(({ name }) => name === 'blk.1.ffn_up.weight'),
        1,
      ),
    says: /tensor model\.layers\.1\.mlp\.up_proj\.weight is missing; expected it with shape \[176, 64\]/,
  },
  {
    a_model: 'with another tokenizer',
    change: ({ metadata }) => (metadata['tokenizer.ggml.model'] = 't5'),
    says: /tokenizer\.ggml\.model "t5" is not supported/,
  },
  {
    a_model: 'with another pre-tokenizer',
    change: ({ metadata }) => (metadata['tokenizer.ggml.pre'] = 'tekken'),
    says: /tokenizer\.ggml\.pre "tekken" is not supported; supported are gpt-2, smollm/,
  },
  {
    a_model: 'with too few token types',
    change: ({ metadata }) => (metadata['tokenizer.ggml.token_type'] = [1]),
    says: /token_type has 1 entries; expected one for each of 600/,
  },
  {
    a_model: 'without a needed number',
    change: ({ metadata }) => delete metadata['llama.block_count'],
    says: /metadata llama\.block_count is absent; expected a number/,
  },
  {
    a_model: 'whose factors are no llama3 scaling',
    change: ({ tensors }) => tensors.push(zeros('rope_freqs.weight', 0, [8], 32)),
    says: /rope_freqs\.weight \[8\] is not the llama3 rope scaling/,
  },
]
for (const { a_model, change, says } of changes)
  test(`a GGUF ${a_model} is refused`, async () => {
    const gguf = tinyLlamaGguf(folder)
    change(gguf)
    await assert.rejects(openModel(write(encodeGguf(gguf.metadata, gguf.tensors))), {
      reason: 'SourceInvalid',
      message: says,
    })
  })

test('a GGUF without a chat template opens with a given one, and has none otherwise', async () => {
  const gguf = tinyLlamaGguf(folder)
  delete gguf.metadata['tokenizer.chat_template']
  const path = write(encodeGguf(gguf.metadata, gguf.tensors))
  assert.equal((await openModel(path)).chatTemplate.source, '')
  assert.equal((await openModel(path, 'given')).chatTemplate.source, 'given')
})

test('the rope factors of a Llama 3.2 are read back as its rope scaling', async () => {
  const scaling = {
    type: 'llama3',
    factor: 32,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalMaxPositions: 8192,
  } as const
  const { metadata, tensors } = tinyLlamaGguf(folder)
  const factors = Float32Array.from(llama3Factors(scaling, 16, 500_000))
  tensors.push({ name: 'rope_freqs.weight', type: 0, shape: [8], data: new Uint8Array(factors.buffer) })
  const model = await openModel(write(encodeGguf({ ...metadata, 'llama.rope.freq_base': { float: 500_000 } }, tensors)))
  assert.deepEqual(model.architecture.ropeScaling, scaling)
})
