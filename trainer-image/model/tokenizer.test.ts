import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openModel } from './open.ts'
import { createTokenizer } from './tokenizer.ts'

const { tokenizer } = await openModel(fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url)))

const texts = [
  '',
  'The old man was thin and gaunt.',
  '  two spaces, a tab\tand a\n\nblank line  ',
  'It’s naïve — “quoted”, 1984 and ½',
  '数学 and Привет and 👩‍👩‍👧 and e\u0301',
  '\u0000\u0007\ufeff control characters',
  'a'.repeat(2000),
]
for (const text of texts)
  test(`${JSON.stringify(text.slice(0, 40))} comes back from its ids, with an end for each`, () => {
    const { ids, ends } = tokenizer.encodeWithOffsets(text)
    assert.deepEqual(ids, tokenizer.encode(text))
    assert.equal(tokenizer.decode(ids), text)
    assert.equal(ends.at(-1) ?? 0, text.length)
    assert.ok(ends.every((end, i) => i === 0 || end >= ends[i - 1]!))
  })

test('the end of a token is where decoding the ids before it leads', () => {
  const text = 'One. “Two” — three 😀 four'
  const { ids, ends } = tokenizer.encodeWithOffsets(text)
  const stream = tokenizer.decodeStream()
  let decoded = 0
  ids.forEach((id, i) => {
    decoded += stream.push(id).length
    assert.equal(decoded, ends[i], `token ${i}`)
  })
})

test('trap 5: special tokens in a text are one id each, and none is added', () => {
  const ids = tokenizer.encode('<|im_start|>user\nHi<|im_end|>\n')
  assert.equal(ids[0], 1)
  assert.equal(ids.filter((id) => id === 2).length, 1)
  assert.equal(
    tokenizer.encode('Hi').some((id) => id < 3),
    false,
  )
})

test('special tokens are left out of decoded text unless asked for', () => {
  const ids = tokenizer.encode('<|im_start|>Hi<|im_end|>')
  assert.equal(tokenizer.decode(ids), 'Hi')
  assert.equal(tokenizer.decode(ids, false), '<|im_start|>Hi<|im_end|>')
})

test('a stream holds a character back until all its bytes are there', () => {
  const ids = tokenizer.encode('😀!')
  const stream = tokenizer.decodeStream()
  const pieces = [...ids].map((id) => stream.push(id))
  assert.deepEqual(
    pieces.filter((piece) => piece !== ''),
    ['😀', '!'],
  )
  assert.equal(stream.end(), '')
})

test('a stream that ends within a character says so with U+FFFD', () => {
  const stream = tokenizer.decodeStream()
  assert.equal(stream.push(tokenizer.encode('😀')[0]!), '')
  assert.equal(stream.end(), '\ufffd')
})

test('ids without a token decode to nothing', () => {
  assert.equal(tokenizer.decode([599_999]), '')
})

const bpe = (model: object, rest: object = {}) =>
  createTokenizer('test', { added_tokens: [], model: { type: 'BPE', merges: [], ...model }, ...rest } as never)

test('a byte that a vocabulary lacks is left out and the offsets stay right', () => {
  const vocab = Object.fromEntries([...'abc'].map((letter, id) => [letter, id]))
  const small = bpe({ vocab }, { pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true } })
  const { ids, ends } = small.encodeWithOffsets('azbéc')
  assert.deepEqual([...ids], [0, 1, 2])
  assert.deepEqual([...ends], [1, 3, 5])
})

test("a tokenizer of Llama 2's kind puts a space first, which offsets and decoding take away again", () => {
  const tokens = [
    '<unk>',
    '▁',
    'a',
    'b',
    '▁a',
    '▁b',
    ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  ]
  const llama2 = bpe(
    {
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: ['▁ a', '▁ b'],
      byte_fallback: true,
      unk_token: '<unk>',
    },
    {
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'Prepend', prepend: '▁' },
          { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
        ],
      },
    },
  )
  const { ids, ends } = llama2.encodeWithOffsets('a bé')
  assert.deepEqual(
    [...ids].map((id) => tokens[id]),
    ['▁a', '▁b', '<0xC3>', '<0xA9>'],
  )
  assert.deepEqual([...ends], [1, 3, 3, 4])
  assert.equal(llama2.decode(ids), 'a bé')
})

test('white space that a special token swallows is its own, before it or after', () => {
  const token = (id: number, content: string, strip: object) => ({
    id,
    content,
    special: true,
    normalized: false,
    ...strip,
  })
  const small = bpe(
    { vocab: { a: 0, b: 1, ' ': 2 }, byte_fallback: true },
    { added_tokens: [token(3, '<L>', { lstrip: true }), token(4, '<R>', { rstrip: true })] },
  )
  const { ids, ends } = small.encodeWithOffsets('a  <L>b<R>\n\u00a0b')
  assert.deepEqual([...ids], [0, 3, 1, 4, 1])
  assert.deepEqual([...ends], [1, 6, 7, 12, 13])
})

test('a tokenizer that changes its text has no offsets, and says so', () => {
  const vocab = Object.fromEntries([...'abc'].map((letter, id) => [letter, id]))
  const lower = bpe(
    { vocab },
    { normalizer: { type: 'Lowercase' }, pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false } },
  )
  assert.deepEqual([...lower.encode('abC')], [0, 1, 2])
  // "C" has no token of its own, so it counts as lost and "c" is looked for behind it.
  assert.throws(() => lower.encodeWithOffsets('abCa'), {
    reason: 'SourceInvalid',
    message: /token 2 does not stand at character 3/,
  })
})

const bad = [
  { a_vocabulary: 'with a negative id', model: { vocab: { a: -1 } }, says: /token "a" has id -1/ },
  { a_vocabulary: 'with a giant id', model: { vocab: { a: 2 ** 31 } }, says: /expected 0 to 4194303/ },
  { a_vocabulary: 'without merges', model: { vocab: {}, merges: null }, says: /lacks "vocab" or "merges"/ },
]
for (const { a_vocabulary, model, says } of bad)
  test(`a vocabulary ${a_vocabulary} is refused`, () => {
    assert.throws(() => bpe(model), { reason: 'SourceInvalid', message: says })
  })
