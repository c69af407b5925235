/** The GGUF files that llama.cpp loaded (golden/make_llamacpp.ts) are those that are written, and it computed, and cut into tokens, as the engine does. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { readMergedAsGguf } from '../../trainer-image/model/gguf-model.ts'
import { openModel } from '../../trainer-image/model/open.ts'
import { createTokenizer } from '../../trainer-image/model/tokenizer.ts'
import { type Architecture, loadModel, type TensorSource } from '../../trainer-image/native/index.ts'
import {
  adapterFile,
  adapterOf,
  baseFile,
  type Family,
  families,
  sealedTinyLlama,
  sourcesOf,
  text,
  tokens,
  whole,
} from './gguf-adapters.ts'
import { sentencePieces, textsOf, tokenizerOf, vocabularyFile } from './gguf-tokenizers.ts'
import { relativeError } from './random-model.ts'

const root = mkdtempSync(join(tmpdir(), 'gguf-'))
let merged: string
before(async () => {
  merged = await sealedTinyLlama(join(root, 'tiny'))
})
after(() => rmSync(root, { recursive: true }))

interface Golden {
  readonly sums: { readonly base: string; readonly adapter?: string }
  /** By llama.cpp's own tokenizer: of a text, or of each of several in one string. */
  readonly tokens?: readonly number[] | readonly string[]
  readonly base?: string
  readonly adapted?: string
}
const golden = JSON.parse(readFileSync(join(import.meta.dirname, 'golden', 'llamacpp.json'), 'utf8')) as Readonly<
  Record<string, Golden>
>
const floats = (base64 = ''): Float32Array => new Float32Array(new Uint8Array(Buffer.from(base64, 'base64')).buffer)
const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** Both compute in f32 and sum in other orders. */
const tolerance = 2e-5

async function engineLogits(
  architecture: Architecture,
  tensors: readonly TensorSource[],
  prompt: readonly number[],
  family?: Family,
): Promise<{ base: Float32Array; adapted: Float32Array | undefined }> {
  const quantization = { type: 'None', blockSize: 64, doubleQuantization: false } as const
  const model = await loadModel(architecture, tensors, { quantization, threads: 1 })
  const adapter = family && (await model.loadAdapter({ ...family.config, seed: 0 }, adapterOf(family)))
  const logits = async (loaded: typeof adapter) => {
    const sequence = model.openSequence(loaded, prompt.length)
    const [result] = await model.forward([{ sequence, tokens: Int32Array.from(prompt) }])
    sequence.close()
    return result!
  }
  try {
    return { base: await logits(undefined), adapted: adapter && (await logits(adapter)) }
  } finally {
    adapter?.close()
    model.close()
  }
}

for (const family of families)
  test(`the GGUF files of a ${family.title} and its adapter are those that llama.cpp loaded, and gave it our logits`, async () => {
    const expected = golden[family.title]!
    const sources = sourcesOf(family, join(root, `${family.title}.bin`))
    assert.equal(sumOf(await baseFile(family, sources)), expected.sums.base)
    assert.equal(sumOf(adapterFile(family)), expected.sums.adapter)
    const { base, adapted } = await engineLogits(family.architecture, sources, tokens, family)
    const ofBase = relativeError(base, floats(expected.base))
    assert.ok(ofBase < tolerance, `the base: ${ofBase}`)
    const error = relativeError(adapted!, floats(expected.adapted))
    assert.ok(error < tolerance, `with the adapter: ${error}`)
    assert.ok(relativeError(adapted!, base) > 0.1, 'the adapter changes the logits')
  })

/** llama.cpp rounds activations to BF16, or to Q8_0, before each product; the engine does not. At most twice what was measured: 0.0030 and 0.0060. */
const roundings = [
  { title: 'merged', quantized: false, most: 0.006 },
  { title: 'merged Q8_0', quantized: true, most: 0.012 },
]
for (const { title, quantized, most } of roundings)
  test(`a ${title} model’s GGUF file is the one that llama.cpp loaded: it cut a text into our tokens and went on with our logits`, async (t) => {
    const expected = golden[title]!
    const file = await whole((await readMergedAsGguf(merged, quantized)).read())
    assert.equal(sumOf(file), expected.sums.base)
    const path = join(root, `${title}.gguf`)
    writeFileSync(path, file)
    const opened = await openModel(path)
    const ids = [...(await openModel(merged)).tokenizer.encode(text)]
    assert.deepEqual(expected.tokens, ids)
    const { base } = await engineLogits(opened.architecture, opened.tensors, ids)
    const error = relativeError(base, floats(expected.base))
    t.diagnostic(`the logits are ${error} apart`)
    assert.ok(error < most, `${error}`)
  })

for (const [family, size] of sentencePieces)
  test(`the tokenizer of ${family} in GGUF is the one that llama.cpp loaded, which cut texts of many languages and conversations into our tokens`, async () => {
    const { sums, tokens } = golden[family]!
    assert.equal(sumOf(await vocabularyFile(family, size)), sums.base)
    const { encode } = createTokenizer(family, tokenizerOf(family))
    const ours = textsOf(family).map((text) => encode(text).join(' '))
    assert.deepEqual(ours, tokens)
  })
