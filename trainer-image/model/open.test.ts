import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { architectureOf } from './config.ts'
import { expectedTensors } from './llama.ts'
import { openModel, requireTemplate } from './open.ts'
import { encodeSafetensors, parseSafetensorsHeader, type TensorBytes } from './safetensors.ts'

const fixture = fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'open-'))
after(() => rmSync(root, { recursive: true }))
let folders = 0
const copy = (): string => {
  const folder = join(root, String(folders++))
  cpSync(fixture, folder, { recursive: true })
  return folder
}

function edit(folder: string, name: string, change: (json: Record<string, unknown>) => void): void {
  const path = join(folder, name)
  const json = JSON.parse(readFileSync(path, 'utf8'))
  change(json)
  writeFileSync(path, JSON.stringify(json))
}

function weights(folder: string): TensorBytes[] {
  const bytes = readFileSync(join(folder, 'model.safetensors'))
  const { tensors } = parseSafetensorsHeader(
    'tiny',
    bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())),
    bytes.byteLength,
  )
  return [...tensors.values()].map((t) => ({ ...t, data: bytes.subarray(t.offset, t.offset + t.bytes) }))
}
const save = (folder: string, tensors: TensorBytes[], name = 'model.safetensors') =>
  writeFileSync(join(folder, name), Buffer.concat(encodeSafetensors(tensors)))

test('the tiny Llama opens with all its tensors in the order of the forward pass', async () => {
  const model = await openModel(fixture)
  assert.equal(model.tensors.length, 20)
  assert.equal(model.tensors[0]?.name, 'model.embed_tokens.weight')
  assert.equal(model.tensors.at(-1)?.name, 'model.norm.weight')
  assert.deepEqual(model.generation, { endOfTurnIds: [2], bosId: 1, padId: 0, maxPositions: 2048 })
  assert.deepEqual(
    model.files.map(({ name }) => name),
    ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json', 'model.safetensors'],
  )
})

test('shards named by an index are one model', async () => {
  const folder = copy()
  const all = weights(folder)
  rmSync(join(folder, 'model.safetensors'))
  const map: Record<string, string> = {}
  for (const [i, part] of [all.slice(0, 9), all.slice(9)].entries()) {
    const shard = `model-0000${i + 1}-of-00002.safetensors`
    save(folder, part, shard)
    for (const { name } of part) map[name] = shard
  }
  const index = { metadata: {}, weight_map: map }
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(index))
  const model = await openModel(folder)
  assert.equal(model.tensors.length, 20)
  assert.equal(new Set(model.tensors.map(({ file }) => file)).size, 2)
  assert.equal(model.files.length, 7)
  rmSync(join(folder, 'model-00002-of-00002.safetensors'))
  await assert.rejects(openModel(folder), {
    reason: 'SourceInvalid',
    message: /names model-00002-of-00002\.safetensors, which is missing/,
  })
  for (const bad of ['../../etc/passwd', '/model.safetensors', 7]) {
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { w: bad } }))
    await assert.rejects(openModel(folder), {
      reason: 'SourceInvalid',
      message: /expected the name of a \.safetensors file/,
    })
  }
})

test("trap 4: several ids that end a turn are all kept, the tokenizer's own first", async () => {
  const folder = copy()
  edit(folder, 'generation_config.json', (json) => (json.eos_token_id = [0, 2, 7]))
  assert.deepEqual((await openModel(folder)).generation.endOfTurnIds, [2, 0, 7])
})

test('rope scaling is read in both of its forms', async () => {
  const llama3 = { factor: 32, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 }
  const old = copy()
  edit(old, 'config.json', (json) => (json.rope_scaling = { rope_type: 'llama3', ...llama3 }))
  const now = copy()
  edit(now, 'config.json', (json) => {
    delete json.rope_theta
    json.rope_parameters = { rope_type: 'llama3', rope_theta: 500_000, ...llama3 }
  })
  const expected = {
    type: 'llama3',
    factor: 32,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalMaxPositions: 8192,
  }
  assert.deepEqual((await openModel(old)).architecture.ropeScaling, expected)
  const { ropeScaling, ropeTheta } = (await openModel(now)).architecture
  assert.deepEqual({ ropeScaling, ropeTheta }, { ropeScaling: expected, ropeTheta: 500_000 })
})

const families = [
  {
    family: 'Llama',
    config: { attention_bias: true },
    biased: ['q_proj', 'k_proj', 'v_proj', 'o_proj'],
    is: { qkvBias: true, outputBias: true, keyValueHeads: 4, maxPositions: 2048 },
  },
  {
    family: 'Qwen2',
    config: { num_key_value_heads: null, use_sliding_window: false, sliding_window: 16, attention_bias: false },
    biased: ['q_proj', 'k_proj', 'v_proj'],
    is: { qkvBias: true, outputBias: false, keyValueHeads: 4, maxPositions: 32_768 },
  },
  {
    family: 'Mistral',
    config: { sliding_window: null, num_key_value_heads: null },
    biased: [],
    is: { qkvBias: false, outputBias: false, keyValueHeads: 4, maxPositions: 131_072 },
  },
  {
    family: 'Mistral',
    config: { sliding_window: 64, max_position_embeddings: 64, num_key_value_heads: 2 },
    biased: [],
    is: { qkvBias: false, outputBias: false, keyValueHeads: 2, maxPositions: 64 },
  },
  {
    family: 'Phi3',
    config: { rms_norm_eps: null, sliding_window: null, attention_bias: false },
    biased: [],
    is: { qkvBias: false, outputBias: false, keyValueHeads: 4, maxPositions: 4096, rmsNormEpsilon: 1e-5 },
  },
]
for (const { family, config: change, biased, is } of families)
  test(`${family} with ${JSON.stringify(change)} has the biases and defaults of its class`, () => {
    const json = JSON.parse(readFileSync(join(fixture, 'config.json'), 'utf8'))
    delete json.max_position_embeddings
    delete json.num_key_value_heads
    const architecture = architectureOf('c', { ...json, architectures: [`${family}ForCausalLM`], ...change })
    assert.partialDeepStrictEqual(architecture, is)
    const { keyValueHeads } = architecture
    const biases = [...expectedTensors(architecture)].filter(([name]) => name.endsWith('.bias'))
    assert.deepEqual(
      biases.map(([name]) => name).sort(),
      [0, 1].flatMap((layer) => biased.map((module) => `model.layers.${layer}.self_attn.${module}.bias`)).sort(),
    )
    for (const [name, shape] of biases) {
      const { heads, headSize, hiddenSize } = architecture
      const rows = { q: heads * headSize, k: keyValueHeads * headSize, v: keyValueHeads * headSize, o: hiddenSize }
      assert.deepEqual(shape, [rows[name.split('.')[4]![0] as 'q']])
    }
  })

test('a model with a sliding window has as many positions as its window: up to there both see the same', () => {
  const json = JSON.parse(readFileSync(join(fixture, 'config.json'), 'utf8'))
  const positions = (family: string, change: object) =>
    architectureOf('c', {
      ...json,
      architectures: [`${family}ForCausalLM`],
      max_position_embeddings: 32_768,
      ...change,
    }).maxPositions
  for (const family of ['Mistral', 'Phi3']) {
    assert.equal(positions(family, { sliding_window: 2047 }), 2047) // Phi-3 Mini 4k
    assert.equal(positions(family, { sliding_window: 131_072 }), 32_768)
    assert.equal(positions(family, { sliding_window: null }), 32_768)
    assert.throws(() => positions(family, { sliding_window: 'wide' }), {
      message: /sliding_window is "wide"; expected a n/,
    })
  }
  assert.equal(positions('Mistral', {}), 4096) // what its class has where nothing is said
  assert.equal(positions('Phi3', {}), 32_768)
})

test('Phi-3 has fused projections, in one matrix each', () => {
  const json = JSON.parse(readFileSync(join(fixture, 'config.json'), 'utf8'))
  const tensors = expectedTensors(architectureOf('c', { ...json, architectures: ['Phi3ForCausalLM'] }))
  assert.deepEqual(
    [...tensors].filter(([name]) => name.startsWith('model.layers.1.')).map(([name, shape]) => [name.slice(15), shape]),
    [
      ['input_layernorm.weight', [64]],
      ['self_attn.qkv_proj.weight', [64 + 2 * 32, 64]],
      ['self_attn.o_proj.weight', [64, 64]],
      ['post_attention_layernorm.weight', [64]],
      ['mlp.gate_up_proj.weight', [2 * 176, 64]],
      ['mlp.down_proj.weight', [64, 176]],
    ],
  )
})

test('what config.json leaves out is what the family says: key-value heads', () => {
  const json = JSON.parse(readFileSync(join(fixture, 'config.json'), 'utf8'))
  delete json.num_key_value_heads
  const heads = (family: string) =>
    architectureOf('c', { ...json, num_attention_heads: 64, architectures: [`${family}ForCausalLM`] }).keyValueHeads
  assert.deepEqual(['Llama', 'Mistral', 'Phi3', 'Qwen2'].map(heads), [64, 8, 64, 32])
})

test('a path where nothing is is NotFound', async () => {
  await assert.rejects(openModel(join(root, 'nowhere')), {
    reason: 'NotFound',
    message: /nowhere: there is no such model; expected a folder with config.json/,
  })
})

const rendering = { addGenerationPrompt: true, dateString: '26 Jul 2024' }

test('a folder without a chat template opens, refuses to render and names what can give one', async () => {
  const folder = copy()
  edit(folder, 'tokenizer_config.json', (t) => delete t.chat_template)
  const opened = await openModel(folder)
  const refusal = { reason: 'SourceInvalid', message: /has no chat template; .*spec\.format\.chatTemplate/ }
  assert.throws(() => opened.chatTemplate.render([{ role: 'user', content: 'x' }], rendering), refusal)
  assert.throws(() => requireTemplate(folder, opened), refusal)
})

test("a given chat template is used in place of the model's own, or of none", async () => {
  const without = copy()
  edit(without, 'tokenizer_config.json', (t) => delete t.chat_template)
  for (const folder of [fixture, without]) {
    const opened = requireTemplate(folder, await openModel(folder, '{{ bos_token }}{{ messages[0].content }}'))
    assert.equal(opened.chatTemplate.render([{ role: 'user', content: 'x' }], rendering), '<|im_start|>x')
  }
  await assert.rejects(openModel(fixture, '{% for %}'), {
    reason: 'SourceInvalid',
    message: /^spec\.format\.chatTemplate: /,
  })
})

const config = (change: (json: Record<string, unknown>) => void) => (folder: string) =>
  edit(folder, 'config.json', change)
const broken: { a_folder: string; breaks: (folder: string) => void; says: RegExp }[] = [
  {
    a_folder: 'without config.json',
    breaks: (f) => rmSync(join(f, 'config.json')),
    says: /has no config\.json and 0 \.gguf files/,
  },
  {
    a_folder: 'of Gemma2',
    breaks: config((c) => (c.architectures = ['Gemma2ForCausalLM'])),
    says: /architecture Gemma2ForCausalLM is not supported; supported are LlamaForCausalLM, MistralForCausalLM, Phi3ForC/,
  },
  {
    a_folder: 'that rotates a part of each head',
    breaks: config((c) => (c.partial_rotary_factor = 0.5)),
    says: /partial_rotary_factor is 0\.5; expected 1: the whole head is rotated/,
  },
  {
    a_folder: 'that rotates a part of each head, said as transformers 5 does',
    breaks: config((c) => (c.rope_parameters = { rope_type: 'default', partial_rotary_factor: 0.25 })),
    says: /rope_parameters: partial_rotary_factor is 0\.25; expected 1/,
  },
  {
    a_folder: 'with layers of another attention',
    breaks: config((c) => (c.layer_types = ['full_attention', 'sliding_attention'])),
    says: /layer_types is \["full_attention","sliding_attention"\]; expected only "full_attention"/,
  },
  {
    a_folder: 'of Qwen2 with a sliding window',
    breaks: config((c) => Object.assign(c, { architectures: ['Qwen2ForCausalLM'], use_sliding_window: true })),
    says: /use_sliding_window is true; expected false: every position sees all before it/,
  },
  {
    a_folder: 'of Qwen2 without biases',
    breaks: config((c) => (c.architectures = ['Qwen2ForCausalLM'])),
    says: /tensor model\.layers\.0\.self_attn\.q_proj\.bias is missing; expected it with shape \[64\]/,
  },
  {
    a_folder: 'of Phi-3 with long rope',
    breaks: config((c) => Object.assign(c, { architectures: ['Phi3ForCausalLM'], rope_scaling: { type: 'longrope' } })),
    says: /rope_scaling has type "longrope"; supported are "default" and "llama3"/,
  },
  {
    a_folder: 'of Phi-3 whose projections are apart',
    breaks: config((c) => (c.architectures = ['Phi3ForCausalLM'])),
    says: /tensor model\.layers\.0\.self_attn\.qkv_proj\.weight is missing; expected it with shape \[128, 64\]/,
  },
  {
    a_folder: 'that is already quantised',
    breaks: config((c) => (c.quantization_config = { quant_method: 'gptq' })),
    says: /quantization_config: quant_method is "gptq"; expected "bitsandbytes"/,
  },
  {
    a_folder: 'that drops attention while it trains',
    breaks: config((c) => (c.attention_dropout = 0.1)),
    says: /attention_dropout is 0\.1; expected 0: nothing is dropped inside the base/,
  },
  {
    a_folder: 'with another activation',
    breaks: config((c) => (c.hidden_act = 'gelu')),
    says: /hidden_act is "gelu"; expected "silu"/,
  },
  {
    a_folder: 'with yarn scaling',
    breaks: config((c) => (c.rope_scaling = { type: 'yarn', factor: 4 })),
    says: /rope_scaling has type "yarn"/,
  },
  {
    a_folder: 'without a size',
    breaks: config((c) => delete c.hidden_size),
    says: /config\.json: hidden_size is absent; expected a number/,
  },
  {
    a_folder: 'with a size as text',
    breaks: config((c) => (c.hidden_size = '64')),
    says: /hidden_size is "64"; expected a number/,
  },
  {
    a_folder: 'with a billion layers',
    breaks: config((c) => (c.num_hidden_layers = 1e9)),
    says: /layers is 1000000000; expected a whole number from 1 to 1024/,
  },
  {
    a_folder: 'with heads that do not group',
    breaks: config((c) => (c.num_key_value_heads = 3)),
    says: /4 heads are not a multiple of 3/,
  },
  {
    a_folder: 'whose config.json is cut off',
    breaks: (f) => truncateSync(join(f, 'config.json'), 99),
    says: /config\.json: not JSON/,
  },
  {
    a_folder: 'without weights',
    breaks: (f) => rmSync(join(f, 'model.safetensors')),
    says: /has neither model\.safetensors nor/,
  },
  {
    a_folder: 'whose weights are truncated',
    breaks: (f) => truncateSync(join(f, 'model.safetensors'), 200_000),
    says: /tensor model\.\S+ ends at byte \d+ but the file has 200000: the file is truncated/,
  },
  {
    a_folder: 'with a tensor missing',
    breaks: (f) =>
      save(
        f,
        weights(f).filter(({ name }) => !name.includes('1.mlp.down_proj')),
      ),
    says: /tensor model\.layers\.1\.mlp\.down_proj\.weight is missing; expected it with shape \[64, 176\]/,
  },
  {
    a_folder: 'with a tensor of the wrong shape',
    breaks: (f) =>
      save(
        f,
        weights(f).map((t) => (t.name.includes('0.mlp.up') ? { ...t, shape: [64, 176] } : t)),
      ),
    says: /tensor model\.layers\.0\.mlp\.up_proj\.weight has shape \[64, 176\]; expected \[176, 64\]/,
  },
  {
    a_folder: 'with a head that the config says is not tied',
    breaks: config((c) => (c.tie_word_embeddings = false)),
    says: /tensor lm_head\.weight is missing; expected it with shape \[600, 64\]/,
  },
  {
    a_folder: 'without a tokenizer',
    breaks: (f) => rmSync(join(f, 'tokenizer.json')),
    says: /tokenizer\.json is missing/,
  },
  {
    a_folder: 'with a Unigram tokenizer',
    breaks: (f) => edit(f, 'tokenizer.json', (t) => (t.model = { type: 'Unigram', vocab: [] })),
    says: /tokenizer model "Unigram" is not supported; supported is BPE/,
  },
  {
    a_folder: 'with a pre-tokenizer that nobody knows',
    breaks: (f) => edit(f, 'tokenizer.json', (t) => (t.pre_tokenizer = { type: 'Mystery' })),
    says: /tokenizer\.json: .*Mystery/,
  },
  {
    a_folder: 'with more token ids than embeddings',
    breaks: (f) => edit(f, 'tokenizer.json', (t) => (t.added_tokens as object[]).push({ id: 600, content: '<x>' })),
    says: /tokenizer has ids up to 600 but the embedding has 600 rows/,
  },
  {
    a_folder: 'whose chat template does not parse',
    breaks: (f) => edit(f, 'tokenizer_config.json', (t) => (t.chat_template = '{% for %}')),
    says: /chat template: /,
  },
]
for (const { a_folder, breaks, says } of broken)
  test(`a folder ${a_folder} is refused`, async () => {
    const folder = copy()
    breaks(folder)
    await assert.rejects(openModel(folder), { reason: 'SourceInvalid', message: says })
  })
