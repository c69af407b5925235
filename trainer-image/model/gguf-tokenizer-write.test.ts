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
  families: Record<string, { tokenizer: { model: { vocab: Record<string, number> } } }>
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

function written(family: string, processor: object | null = null) {
  const path = join(root, `${family}.json`)
  const { tokenizer } = families[family]!
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

for (const family of ['mistral-v0.3', 'phi-3'])
  test(`the real tokenizer of ${family} has no scores for llama.cpp, and is refused`, async () => {
    await assert.rejects(written(family), {
      reason: 'SourceInvalid',
      message: /only byte-level BPE can be written as GGUF/,
    })
  })
