/** The tiny Llama written as a Phi-3, its projections joined: the same numbers, so the same logits to the bit and a folder that trains. */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { linearModules } from '../../trainer-image/model/llama.ts'
import { openModel } from '../../trainer-image/model/open.ts'
import { expectedAdapterTensors } from '../../trainer-image/model/peft.ts'
import { encodeSafetensors, readSafetensorsHeader } from '../../trainer-image/model/safetensors.ts'
import { loadModel } from '../../trainer-image/native/index.ts'
import { lora, pack } from './random-model.ts'

const llama = fileURLToPath(new URL('../fixtures/tiny-llama', import.meta.url))
const phi3 = join(mkdtempSync(join(tmpdir(), 'fused-')), 'phi3')
after(() => rmSync(join(phi3, '..'), { recursive: true }))

cpSync(llama, phi3, { recursive: true })
const weights = join(phi3, 'model.safetensors')
const bytes = readFileSync(weights)
const { tensors } = await readSafetensorsHeader(weights)
const stored = [...tensors.values()].map((t) => ({ ...t, data: bytes.subarray(t.offset, t.offset + t.bytes) }))
const joins = { qkv_proj: ['q', 'k', 'v'], gate_up_proj: ['gate', 'up'] }
const joined = [0, 1].flatMap((layer) =>
  Object.entries(joins).map(([name, parts]) => {
    const found = parts.map(
      (part) => stored.find((t) => t.name.includes(`.${layer}.`) && t.name.includes(`.${part}_proj`))!,
    )
    return {
      name: found[0]!.name.replace(`${parts[0]}_proj`, name),
      dtype: found[0]!.dtype,
      shape: [found.reduce((rows, { shape }) => rows + shape[0]!, 0), found[0]!.shape[1]!],
      data: Buffer.concat(found.map(({ data }) => data)),
    }
  }),
)
const apart = stored.filter(({ name }) => !/\.(q|k|v|gate|up)_proj/.test(name))
writeFileSync(weights, Buffer.concat(encodeSafetensors([...apart, ...joined])))
const config = JSON.parse(readFileSync(join(phi3, 'config.json'), 'utf8'))
writeFileSync(
  join(phi3, 'config.json'),
  JSON.stringify({ ...config, architectures: ['Phi3ForCausalLM'], model_type: 'phi3' }),
)

async function opened(path: string, type: 'NF4' | 'None' = 'None') {
  const { architecture, tensors } = await openModel(path)
  const quantization = { type, blockSize: 64, doubleQuantization: true }
  return { architecture, model: await loadModel(architecture, tensors, { quantization, threads: 2 }) }
}

for (const rows of [1, 40])
  test(`${rows} tokens give the same logits, fused or apart`, async () => {
    const logits: Float32Array[] = []
    for (const path of [llama, phi3]) {
      const { model } = await opened(path)
      const tokens = Int32Array.from({ length: rows }, (_, i) => (7 * i + 3) % 600)
      logits.push((await model.forward([{ sequence: model.openSequence(undefined, rows), tokens }]))[0]!)
      model.close()
    }
    assert.deepEqual(logits[1], logits[0])
  })

test('an adapter on all linear layers of the folder has PEFT’s names and shapes and learns, on NF4', async () => {
  const { architecture, model } = await opened(phi3, 'NF4')
  const targetModules = linearModules(architecture)
  const adapter = await model.createAdapter({ ...lora, targetModules, dropout: 0.1 })
  assert.deepEqual(
    new Map(adapter.tensors().map(({ name, shape }) => [name, shape])),
    expectedAdapterTensors(architecture, { rank: lora.rank, targetModules }),
  )
  const batch = pack([[Array.from({ length: 30 }, (_, i) => (11 * i + 5) % 600)]])
  const loss = async () => (await model.evaluate(adapter, batch)).nll[0]!
  const before = await loss()
  for (let step = 1; step <= 5; step++) {
    await model.accumulate(adapter, batch, step)
    await model.optimizerStep(adapter, {
      step,
      learningRate: 1e-2,
      gradientScale: 1 / 29,
      maxGradientNorm: 1,
      beta1: 0.9,
      beta2: 0.999,
      epsilon: 1e-8,
      weightDecay: 0,
    })
  }
  assert.ok((await loss()) < 0.9 * before)
  model.close()
})

test('a target that a Phi-3 lacks is refused with those that it has', async () => {
  const { model } = await opened(phi3)
  await assert.rejects(model.createAdapter({ ...lora, targetModules: ['q_proj'] }), {
    code: 'INVALID_ARGUMENT',
    message: "targetModules: 'q_proj' matches no linear layer; there are qkv_proj, o_proj, gate_up_proj, down_proj",
  })
  model.close()
})
