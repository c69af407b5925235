/** The adapter files that llama.cpp loaded (golden/make_llamacpp.ts) are those that are written, and it computed what the engine does. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { loadModel, type TensorSource } from '../../trainer-image/native/index.ts'
import { adapterFile, adapterOf, type Family, families, tokens, weightsOf } from './gguf-adapters.ts'
import { relativeError } from './random-model.ts'

const root = mkdtempSync(join(tmpdir(), 'gguf-adapter-'))
after(() => rmSync(root, { recursive: true }))

const golden = JSON.parse(readFileSync(join(import.meta.dirname, 'golden', 'llamacpp.json'), 'utf8')) as Readonly<
  Record<string, { readonly adapter: string; readonly base: string; readonly adapted: string }>
>
const floats = (base64: string): Float32Array => new Float32Array(new Uint8Array(Buffer.from(base64, 'base64')).buffer)

/** Both compute in f32 and sum in other orders. */
const tolerance = 2e-5

async function engineLogits(family: Family): Promise<{ base: Float32Array; adapted: Float32Array }> {
  const file = join(root, `${family.name}.bin`)
  let offset = 0
  const parts = weightsOf(family)
  const tensors = parts.map(({ name, shape, data }): TensorSource => {
    const source = { name, shape, dtype: 'F32', file, offset, bytes: data.byteLength } as const
    offset += data.byteLength
    return source
  })
  writeFileSync(file, Buffer.concat(parts.map(({ data }) => new Uint8Array(data.buffer))))
  const quantization = { type: 'None', blockSize: 64, doubleQuantization: false } as const
  const model = await loadModel(family.architecture, tensors, { quantization, threads: 1 })
  const adapter = await model.loadAdapter({ ...family.config, seed: 0 }, adapterOf(family))
  const logits = async (loaded: typeof adapter | undefined) => {
    const sequence = model.openSequence(loaded, tokens.length)
    const [result] = await model.forward([{ sequence, tokens: Int32Array.from(tokens) }])
    sequence.close()
    return result!
  }
  try {
    return { base: await logits(undefined), adapted: await logits(adapter) }
  } finally {
    adapter.close()
    model.close()
  }
}

for (const family of families)
  test(`a ${family.name} adapter’s GGUF file is the one that llama.cpp loaded, and gave it our logits`, async () => {
    const expected = golden[family.name]!
    assert.equal(createHash('sha256').update(adapterFile(family)).digest('hex'), expected.adapter)
    const { base, adapted } = await engineLogits(family)
    assert.ok(relativeError(base, floats(expected.base)) < tolerance, 'the base')
    const error = relativeError(adapted, floats(expected.adapted))
    assert.ok(error < tolerance, `with the adapter: ${error}`)
    assert.ok(relativeError(adapted, base) > 0.1, 'the adapter changes the logits')
  })
