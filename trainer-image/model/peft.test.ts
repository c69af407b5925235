import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { AdapterTensor } from '../native/index.ts'
import { linearModules, resolveTargets } from './llama.ts'
import { openModel } from './open.ts'
import { type AdapterConfig, adapterConfigJson, expectedAdapterTensors, readAdapter, writeAdapter } from './peft.ts'
import { readSafetensorsHeader } from './safetensors.ts'

const { architecture } = await openModel(fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url)))
const phi3 = { ...architecture, fusedProjections: true }
const root = mkdtempSync(join(tmpdir(), 'peft-'))
after(() => rmSync(root, { recursive: true }))
let folders = 0
const folder = (): string => join(root, String(folders++))

const config: AdapterConfig = {
  baseModel: 'owner/tiny-llama',
  rank: 4,
  alpha: 8,
  dropout: 0.05,
  targetModules: linearModules(architecture),
  rankStabilized: false,
}
const tensorsOf = (adapter: AdapterConfig, model = architecture): AdapterTensor[] =>
  [...expectedAdapterTensors(model, adapter)].map(([name, shape], i) => ({
    name,
    shape,
    data: Float32Array.from({ length: shape[0] * shape[1] }, (_, k) => i + k / 1000),
  }))

test('an adapter is read back as it was written', async () => {
  for (const adapter of [
    config,
    { ...config, rankStabilized: true, targetModules: ['q_proj', 'down_proj'] as const },
  ]) {
    const path = folder()
    await writeAdapter(path, { config: adapter, tensors: tensorsOf(adapter) })
    const read = await readAdapter(path, architecture)
    assert.deepEqual(
      { ...read.config, targetModules: [...read.config.targetModules] },
      { ...adapter, targetModules: [...adapter.targetModules] },
    )
    assert.deepEqual(read.tensors, tensorsOf(adapter))
  }
})

test('names, shapes and metadata are those of PEFT', async () => {
  const path = folder()
  await writeAdapter(path, { config, tensors: tensorsOf(config) })
  const { tensors, metadata } = await readSafetensorsHeader(join(path, 'adapter_model.safetensors'))
  assert.deepEqual(metadata, { format: 'pt' })
  assert.equal(tensors.size, 2 * 7 * 2)
  const shape = (name: string) => tensors.get(`base_model.model.model.layers.1.${name}.weight`)?.shape
  assert.deepEqual(shape('self_attn.k_proj.lora_A'), [4, 64])
  assert.deepEqual(shape('self_attn.k_proj.lora_B'), [32, 4])
  assert.deepEqual(shape('mlp.down_proj.lora_A'), [4, 176])
  assert.deepEqual(shape('mlp.down_proj.lora_B'), [64, 4])
})

test('an adapter of fused projections has one A and one B for each, and "all-linear" means them', async () => {
  const path = folder()
  const adapter = { ...config, targetModules: linearModules(phi3) }
  await writeAdapter(path, { config: adapter, tensors: tensorsOf(adapter, phi3) })
  edited((c) => (c.target_modules = 'all-linear'))(path)
  const { config: read, tensors } = await readAdapter(path, phi3)
  assert.deepEqual(read.targetModules, ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj'])
  const shape = (name: string) =>
    tensors.find((t) => t.name === `base_model.model.model.layers.1.${name}.weight`)?.shape
  assert.deepEqual(shape('self_attn.qkv_proj.lora_A'), [4, 64])
  assert.deepEqual(shape('self_attn.qkv_proj.lora_B'), [64 + 2 * 32, 4])
  assert.deepEqual(shape('mlp.gate_up_proj.lora_A'), [4, 64])
  assert.deepEqual(shape('mlp.gate_up_proj.lora_B'), [2 * 176, 4])
  await assert.rejects(readAdapter(path, architecture), {
    reason: 'SourceInvalid',
    message: /tensor \S+\.lora_A\.weight belongs to no target of this adapter; targets are q_proj, k_proj/,
  })
})

test('adapter_config.json is indented by 2 with sorted keys', () => {
  const text = adapterConfigJson(config)
  const json = JSON.parse(text)
  assert.equal(text, `${JSON.stringify(json, null, 2)}\n`)
  assert.deepEqual(Object.keys(json), Object.keys(json).toSorted())
  assert.deepEqual(
    [
      json.peft_type,
      json.task_type,
      json.r,
      json.lora_alpha,
      json.lora_dropout,
      json.inference_mode,
      json.base_model_name_or_path,
    ],
    ['LORA', 'CAUSAL_LM', 4, 8, 0.05, true, 'owner/tiny-llama'],
  )
})

test('equal adapters have equal bytes', async () => {
  const [a, b] = [folder(), folder()]
  await writeAdapter(a, { config, tensors: tensorsOf(config) })
  await writeAdapter(b, { config, tensors: tensorsOf(config).reverse() })
  for (const name of ['adapter_config.json', 'adapter_model.safetensors'])
    assert.deepEqual(readFileSync(join(a, name)), readFileSync(join(b, name)))
})

const edited = (change: (json: Record<string, unknown>) => void) => (path: string) => {
  const json = JSON.parse(readFileSync(join(path, 'adapter_config.json'), 'utf8'))
  change(json)
  writeFileSync(join(path, 'adapter_config.json'), JSON.stringify(json))
}
const refusals: { an_adapter: string; breaks: (path: string) => void; says: RegExp }[] = [
  { an_adapter: 'of IA3', breaks: edited((c) => (c.peft_type = 'IA3')), says: /peft_type is "IA3"; expected "LORA"/ },
  { an_adapter: 'with DoRA', breaks: edited((c) => (c.use_dora = true)), says: /use_dora is true; supported is false/ },
  {
    an_adapter: 'with saved modules',
    breaks: edited((c) => (c.modules_to_save = ['lm_head'])),
    says: /modules_to_save is \["lm_head"\]/,
  },
  { an_adapter: 'with a rank pattern', breaks: edited((c) => (c.rank_pattern = { q_proj: 8 })), says: /rank_pattern/ },
  { an_adapter: 'without a rank', breaks: edited((c) => delete c.r), says: /r is absent; expected a number/ },
  { an_adapter: 'with half a rank', breaks: edited((c) => (c.r = 4.5)), says: /r is 4.5; expected a whole number/ },
  {
    an_adapter: 'of another rank than its tensors',
    breaks: edited((c) => (c.r = 8)),
    says: /layers\.0\.self_attn\.q_proj\.lora_A\.weight has shape \[4, 64\]; expected \[8, 64\]/,
  },
  {
    an_adapter: 'of fewer targets than its tensors',
    breaks: edited((c) => (c.target_modules = ['q_proj'])),
    says: /belongs to no target of this adapter; targets are q_proj/,
  },
  {
    an_adapter: 'of a module that Llama lacks',
    breaks: edited((c) => (c.target_modules = ['qkv_proj'])),
    says: /"qkv_proj" matches no module of this model; it has q_proj, k_proj/,
  },
]
for (const { an_adapter, breaks, says } of refusals)
  test(`trap 21: an adapter ${an_adapter} is refused`, async () => {
    const path = folder()
    await writeAdapter(path, { config, tensors: tensorsOf(config) })
    breaks(path)
    await assert.rejects(readAdapter(path, architecture), { reason: 'SourceInvalid', message: says })
  })

test('an adapter with a tensor missing is refused by its name', async () => {
  const path = folder()
  await writeAdapter(path, { config, tensors: tensorsOf(config).slice(0, -1) })
  await assert.rejects(readAdapter(path, architecture), {
    reason: 'SourceInvalid',
    message: /layers\.1\.mlp\.down_proj\.lora_B\.weight is missing; expected it with shape \[64, 4\]/,
  })
})

test('a folder without an adapter is NotFound', async () => {
  await assert.rejects(readAdapter(root, architecture), {
    reason: 'NotFound',
    message: /adapter_config\.json is missing/,
  })
})

test('no targets mean all linear modules, and any order comes out as one', () => {
  const separate = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
  assert.deepEqual(resolveTargets(architecture, []), separate)
  assert.deepEqual(resolveTargets(phi3, []), ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj'])
  assert.deepEqual(resolveTargets(architecture, ['down_proj', 'q_proj', 'q_proj']), ['q_proj', 'down_proj'])
  assert.deepEqual(resolveTargets(phi3, ['down_proj', 'qkv_proj']), ['qkv_proj', 'down_proj'])
})

test('trap 20: a target that matches nothing is refused with the modules there are', () => {
  assert.throws(() => resolveTargets(architecture, ['q_proj', 'query_key_value', 'lm_head']), {
    reason: 'ConfigurationInvalid',
    message:
      'lora.targetModules: "query_key_value", "lm_head" matches no module of this model; it has q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj',
  })
  assert.throws(() => resolveTargets(phi3, ['q_proj', 'o_proj', 'gate_proj']), {
    reason: 'ConfigurationInvalid',
    message:
      'lora.targetModules: "q_proj", "gate_proj" matches no module of this model; it has qkv_proj, o_proj, gate_up_proj, down_proj',
  })
})
