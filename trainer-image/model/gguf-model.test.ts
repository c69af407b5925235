import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { sealAdapter, tinyLlama } from '../../test/fixtures/adapter.ts'
import { writeMergedModel } from '../merge/merged-model.ts'
import { readTensor } from '../native/index.ts'
import { hexOf } from '../storage/digest.ts'
import { type Manifest, seal } from '../storage/sealed.ts'
import { readGguf } from './gguf.ts'
import { readMergedAsGguf } from './gguf-model.ts'
import { type OpenedModel, openModel } from './open.ts'

const main = fileURLToPath(new URL('../main.ts', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'gguf-model-'))
let merged: string
let manifest: Manifest
after(() => rmSync(root, { recursive: true }))
before(async () => {
  const adapter = join(root, 'adapter')
  mkdirSync(adapter)
  await sealAdapter(tinyLlama, adapter, { rank: 4, alpha: 8, targetModules: ['q_proj', 'down_proj'] })
  manifest = await writeMergedModel(tinyLlama, adapter, root)
  merged = join(root, hexOf(manifest.digest))
})

async function written(name: string, quantized: boolean, folder = merged): Promise<string> {
  const path = join(root, name)
  const pieces: Uint8Array[] = []
  for await (const piece of (await readMergedAsGguf(folder, quantized)).read()) pieces.push(piece)
  writeFileSync(path, Buffer.concat(pieces))
  return path
}
const bytesOf = (numbers: Float32Array): Buffer => Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength)
const numbersOf = (model: OpenedModel): Map<string, Float32Array> =>
  new Map(model.tensors.map((tensor) => [tensor.name, readTensor(tensor)]))

test('a merged model and its GGUF file are the same model: architecture, weights, tokenizer, template and ends', async () => {
  const path = await written('model.gguf', false)
  const [ours, theirs] = [await openModel(merged), await openModel(path)]
  const { rmsNormEpsilon } = ours.architecture
  assert.deepEqual(
    { ...theirs.architecture, rmsNormEpsilon: Math.fround(rmsNormEpsilon) },
    { ...ours.architecture, rmsNormEpsilon: Math.fround(rmsNormEpsilon) },
  )
  const expected = numbersOf(ours)
  const found = numbersOf(theirs)
  assert.deepEqual([...found.keys()].sort(), [...expected.keys()].sort())
  // Not by deepEqual: it would print half a million numbers.
  for (const [name, numbers] of found) assert.ok(bytesOf(numbers).equals(bytesOf(expected.get(name)!)), name)
  const text = 'In 1984 it’s 23 o’clock — naïve.<|im_end|>\n\n  Zwölf'
  assert.deepEqual(theirs.tokenizer.encode(text), ours.tokenizer.encode(text))
  assert.equal(theirs.chatTemplate.source, ours.chatTemplate.source)
  assert.deepEqual(theirs.generation, ours.generation)
  const { metadata, tensors } = await readGguf(path)
  assert.deepEqual(
    [
      metadata.get('humanizer.adapter.digest'),
      metadata.get('humanizer.base.digest'),
      metadata.get('general.file_type'),
    ],
    [manifest.adapter, manifest.base, 32],
  )
  assert.deepEqual(
    [tensors.get('blk.0.attn_q.weight')?.dtype, tensors.get('blk.0.attn_norm.weight')?.dtype],
    ['BF16', 'F32'],
  )
})

test('in Q8_0 every number is within half a step of its block, and rows that are no whole blocks stay as they are', async () => {
  const path = await written('q8.gguf', true)
  const [ours, theirs] = [await openModel(merged), await openModel(path)]
  const expected = numbersOf(ours)
  for (const [name, found] of numbersOf(theirs)) {
    const exact = expected.get(name)!
    const isVector = ours.tensors.find((tensor) => tensor.name === name)?.shape.length === 1
    for (let at = 0; at < exact.length; at += 32) {
      const block = exact.subarray(at, at + 32)
      const largest = Math.max(...block.map(Math.abs))
      // Half a step, and the scale's own rounding to F16 (2^-11) over 127 steps.
      const tolerance = isVector ? 0 : (largest / 127) * (0.5 + 127 * 2 ** -11)
      for (const [i, value] of block.entries())
        assert.ok(Math.abs(found[at + i]! - value) <= tolerance, `${name}[${at + i}] is ${found[at + i]}, was ${value}`)
    }
  }
  const { metadata, tensors } = await readGguf(path)
  assert.equal(metadata.get('general.file_type'), 7)
  // 176 is no multiple of 32.
  assert.deepEqual(
    ['blk.0.attn_q.weight', 'blk.1.ffn_down.weight', 'blk.0.ffn_norm.weight'].map((name) => tensors.get(name)?.dtype),
    ['Q8_0', 'BF16', 'F32'],
  )
})

test('the tool writes the same file', async () => {
  const [path, output] = [await written('c', true), join(root, 'd')]
  execFileSync(process.execPath, [main, 'gguf', '--model', merged, '--q8', '--output', output])
  assert.ok(readFileSync(output).equals(readFileSync(path)))
})

test('equal models give equal bytes', async () => {
  assert.ok(readFileSync(await written('a', true)).equals(readFileSync(await written('b', true))))
})

interface Changed {
  // biome-ignore lint/suspicious/noExplicitAny: a tokenizer.json as its writer would change it
  readonly change: (tokenizer: any) => void
  readonly what: string
  readonly says: RegExp
}
const refused: readonly Changed[] = [
  {
    what: 'a tokenizer that falls back to bytes and writes spaces otherwise than SentencePiece',
    change: ({ model }) => {
      model.byte_fallback = true
    },
    says: /tokenizer\.json: normalizer null and pre_tokenizer .* are none of the two ways of Llama 2 to write spaces; it cannot be/,
  },
  {
    what: 'words that are cut in another way',
    change: ({ pre_tokenizer }) => {
      pre_tokenizer.pretokenizers[0].individual_digits = false
    },
    says: /pre_tokenizer .* has no name in llama\.cpp that is known here; known are gpt-2, smollm,/,
  },
]
for (const { what, change, says } of refused)
  test(`${what} is refused`, async () => {
    const folder = join(root, what.replaceAll(' ', '-'))
    cpSync(merged, folder, { recursive: true })
    const path = join(folder, 'tokenizer.json')
    const tokenizer = JSON.parse(readFileSync(path, 'utf8'))
    change(tokenizer)
    writeFileSync(path, JSON.stringify(tokenizer))
    await seal(folder, manifest.digest, { base: manifest.base, adapter: manifest.adapter })
    await assert.rejects(written('never', false, folder), { reason: 'SourceInvalid', message: says })
  })

test('a folder that is no merged model is refused', async () => {
  const folder = join(root, 'plain')
  cpSync(tinyLlama, folder, { recursive: true })
  await seal(folder, manifest.digest)
  await assert.rejects(written('never', false, folder), {
    reason: 'SourceInvalid',
    message: /names no base and adapter/,
  })
})
