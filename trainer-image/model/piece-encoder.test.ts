import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Tokenizer } from '@huggingface/tokenizers'
import { prose } from '../../test/fixtures/sources.ts'
import { randomOf } from '../dataset/random.ts'
import type { JsonObject } from './json.ts'
import { createPieceEncoder } from './piece-encoder.ts'

const read = (path: string): JsonObject => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'))
const { families, texts } = read('../../test/parity/golden/tokenizers.json') as unknown as {
  readonly families: Readonly<Record<string, { readonly tokenizer: JsonObject }>>
  readonly texts: readonly string[]
}
const tokenizers: Readonly<Record<string, JsonObject>> = {
  SmolLM2: read('../../test/fixtures/tiny-llama/tokenizer.json'),
  ...Object.fromEntries(Object.entries(families).map(([name, { tokenizer }]) => [name, tokenizer])),
}
const absent = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null }
const plain = (json: JsonObject): Tokenizer => new Tokenizer({ ...absent, ...json }, {})

for (const [name, json] of Object.entries(tokenizers))
  test(`${name}: the ids of the pieces are those of the whole text`, () => {
    const whole = plain(json)
    const pieces = createPieceEncoder(whole, json, plain)
    assert.ok(pieces)
    const added = ((json.added_tokens ?? []) as readonly { readonly content: string }[]).map(({ content }) => content)
    const parts = [
      ...Array.from(' \n\t▁_.,-\'’"!0123aZéßЖ日本ก😀'),
      ...[
        '  ',
        '    ',
        '\r\n',
        "'s",
        "'LL",
        'e\u0301',
        '\u00a0',
        '\u200d',
        '\ud800',
        '<0x0A>',
        '<|',
        '|>',
        'the',
        ' of',
        'ing',
      ],
      ...added.slice(0, 12),
    ]
    const random = randomOf(1, name)
    const made = Array.from({ length: 400 }, () =>
      Array.from({ length: 1 + Math.floor(random() * 16) }, () => parts[Math.floor(random() * parts.length)]).join(''),
    )
    for (const text of [...texts, ...prose.slice(0, 40), ...made]) {
      if (text === '') continue
      const want = Int32Array.from(whole.encode(text, { add_special_tokens: false }).ids)
      assert.deepEqual(pieces(text), want, JSON.stringify(text))
      assert.deepEqual(pieces(text), want, 'the second time')
    }
  })

test('what pieces can not give is left to the library', () => {
  const bpe = (change: JsonObject): JsonObject => ({ model: { type: 'BPE', vocab: { a: 0 }, merges: [] }, ...change })
  for (const json of [
    bpe({ pre_tokenizer: { type: 'Whitespace' } }),
    bpe({ normalizer: { type: 'NFC' }, added_tokens: [{ id: 1, content: 'x', normalized: true }] }),
    bpe({ model: { type: 'BPE', vocab: { a: 0 }, merges: [], fuse_unk: true, unk_token: 'a' } }),
  ])
    assert.equal(createPieceEncoder(plain(json), json, plain), undefined)
})

test('a text is one piece where merges reach across spaces', () => {
  const json = { model: { type: 'BPE', vocab: { a: 0, '▁': 1, 'a▁': 2, 'a▁a': 3 }, merges: ['a ▁', 'a▁ a'] } }
  const pieces = createPieceEncoder(plain(json), json, plain)
  assert.deepEqual(pieces?.('a▁aa'), Int32Array.of(3, 0))
})
