import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ggufTokenizerMetadata } from './gguf-tokenizer-write.ts'
import type { OpenedModel } from './open.ts'

/** Excerpts of the real tokenizers: test/parity/golden/make_tokenizers.py. */
const golden = new URL('../../test/parity/golden/tokenizers.json', import.meta.url)
const { families } = JSON.parse(readFileSync(golden, 'utf8')) as {
  families: Record<string, { tokenizer: { model: { vocab: Record<string, number>; merges: readonly string[] } } }>
}
const root = mkdtempSync(join(tmpdir(), 'gguf-tokenizer-'))
after(() => rmSync(root, { recursive: true }))

/** As Llama 3's tokenizer.json has it; the excerpts are without. */
const beginning = {
  type: 'Sequence',
  processors: [
    { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true },
    {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<|begin_of_text|>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    },
  ],
}

// biome-ignore lint/suspicious/noExplicitAny: a tokenizer.json as its writer would change it
type Json = any

function written(family: string, processor: object | null = null, change: (tokenizer: Json) => void = () => {}) {
  const path = join(root, `${family}.json`)
  const tokenizer = structuredClone(families[family]!.tokenizer)
  change(tokenizer)
  writeFileSync(path, JSON.stringify({ ...tokenizer, post_processor: processor }))
  const opened = {
    architecture: { vocabularySize: 152_064 },
    generation: { bosId: 128_000, endOfTurnIds: [128_009], maxPositions: 1 },
    chatTemplate: { source: '' },
  } as unknown as OpenedModel
  return ggufTokenizerMetadata(path, opened)
}

for (const [family, name, processor] of [
  ['llama3.2', 'llama-bpe', beginning],
  ['qwen2.5', 'qwen2', null],
] as const)
  test(`the real tokenizer of ${family} is llama.cpp’s ${name}, every token under its id`, async () => {
    const metadata = await written(family, processor)
    assert.deepEqual(
      [metadata['tokenizer.ggml.pre'], metadata['tokenizer.ggml.add_bos_token']],
      [name, processor !== null],
    )
    const tokens = metadata['tokenizer.ggml.tokens'] as readonly string[]
    assert.equal(tokens.length, 152_064)
    for (const [content, id] of Object.entries(families[family]!.tokenizer.model.vocab))
      assert.equal(tokens[id], content)
  })

for (const [family, spaceBefore, name] of [
  ['mistral-v0.3', false, undefined],
  ['phi-3', true, 'Phi-3'],
] as const)
  test(`the real tokenizer of ${family} has scores in the order of its merges`, async () => {
    const metadata = await written(family)
    const { model } = families[family]!.tokenizer
    assert.deepEqual(
      [
        metadata['tokenizer.ggml.model'],
        metadata['tokenizer.ggml.pre'],
        metadata['tokenizer.ggml.add_space_prefix'],
        metadata['tokenizer.ggml.unknown_token_id'],
        metadata['general.name'],
        metadata['tokenizer.ggml.merges'],
      ],
      ['llama', 'default', spaceBefore, 0, name, undefined],
    )
    const { floats } = metadata['tokenizer.ggml.scores'] as { floats: readonly number[] }
    const made = model.merges.map((merge) => model.vocab[merge.replace(' ', '')]!)
    const inOrder = [...new Set(made)].map((id) => floats[id]!)
    assert.deepEqual(
      inOrder,
      [...inOrder].sort((a, b) => b - a),
    )
    assert.equal(new Set(inOrder).size, inOrder.length)
    const kinds = metadata['tokenizer.ggml.token_type'] as readonly number[]
    assert.deepEqual([kinds[model.vocab['<0x0A>']!], kinds[model.vocab['</s>']!], kinds[31_999]], [6, 3, 5])
  })

const strange: readonly { what: string; family?: string; change: (tokenizer: Json) => void; says: RegExp }[] = [
  {
    what: 'merges that are not all there could be',
    change: ({ model }) => model.merges.splice(model.merges.indexOf('▁ t'), 1),
    says: /"▁t" is not merged of \["▁","t"\]; it cannot be written as GGUF/,
  },
  {
    what: 'merges that make a token, and later make it again',
    change: ({ model }) => model.merges.push('▁ t'),
    says: /the merges that make "▁t" do not stand together/,
  },
  {
    what: 'a space that is put before every word',
    change: ({ pre_tokenizer }) => {
      pre_tokenizer.split = true
    },
    says: /pre_tokenizer \{"type":"Metaspace".* are none of the two ways of Llama 2 to write spaces/,
  },
  {
    what: 'white space that one more token takes away',
    family: 'phi-3',
    change: ({ added_tokens }) => {
      added_tokens[1].rstrip = true
    },
    says: /white space is taken away behind other added tokens than Phi-3’s/,
  },
  {
    what: 'a token that takes white space away before it',
    change: ({ added_tokens }) => {
      added_tokens[3].lstrip = true
    },
    says: /added token "\[INST\]" is looked for in another way than llama\.cpp's/,
  },
]
for (const { what, family = 'mistral-v0.3', change, says } of strange)
  test(`${what}: llama.cpp would cut otherwise, and it is refused`, async () => {
    await assert.rejects(written(family, null, change), { reason: 'SourceInvalid', message: says })
  })
