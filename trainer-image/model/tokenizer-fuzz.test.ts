import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { JobFailure } from '../job/failure.ts'
import { isObject, type JsonObject } from './json.ts'
import { createTokenizer } from './tokenizer.ts'

const url = new URL('../../test/fixtures/tiny-llama/tokenizer.json', import.meta.url)
const whole = (): JsonObject => JSON.parse(readFileSync(url, 'utf8'))

/** Numerical Recipes' generator: the same tokenizers on every run. */
let state = 2027
const random = (limit: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * limit)
}
const any = <T>(of: readonly T[]): T => of[random(of.length)]!

/** Parts that tokenizers of other families have. */
const parts: readonly unknown[] = [
  { type: 'NFC' },
  { type: 'Lowercase' },
  { type: 'Prepend', prepend: '▁' },
  { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
  { type: 'Replace', pattern: { Regex: '(' }, content: '' },
  { type: 'Split', pattern: { Regex: '\\p{N}{1,3}|\\s+' }, behavior: 'Isolated', invert: false },
  { type: 'Split', pattern: { Regex: '[z-a]' }, behavior: 'Removed', invert: true },
  { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
  { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  { type: 'Digits', individual_digits: true },
  { type: 'FixedLength', length: 3 },
  { type: 'Sequence', pretokenizers: [{ type: 'FixedLength', length: 0 }] },
  { type: 'Sequence', normalizers: [{ type: 'NFD' }, null] },
  { type: 'Sequence', pretokenizers: [{ type: 'Whitespace' }, { type: 'Mystery' }] },
  { type: 'TemplateProcessing', single: [], pair: [], special_tokens: {} },
  { type: 'BPE' },
]
const values: readonly unknown[] = [
  ...parts,
  ...[null, true, false, 0, -1, 0.5, 599, 4_194_303, 2 ** 31, 1e300, '', ' ', '\0', '\ud800', '▁', '<0xFF>', 'type'],
  ...[[], {}, [[]], [null], ['a', 'b'], [['a', 'b', 'c']], { content: '' }, { content: ' ', id: 3, special: true }],
]

/** Puts something else in a random place, deeper ones as likely as those at the top. */
function mutate(json: JsonObject): void {
  let at: Record<string, unknown> = json as Record<string, unknown>
  for (;;) {
    const keys = Object.keys(at)
    if (keys.length === 0) return
    const key = any(keys)
    const inside = at[key]
    if ((isObject(inside) || Array.isArray(inside)) && random(4) > 0) {
      at = inside as Record<string, unknown>
      continue
    }
    const change = random(10)
    const added = any(['type', 'content', 'id', 'vocab', '__proto__', 'a b', 'Ġ'])
    if (change === 0) delete at[key]
    else {
      const value = structuredClone(any(values))
      Object.defineProperty(at, change === 1 ? added : key, {
        value,
        enumerable: true,
        configurable: true,
        writable: true,
      })
    }
    return
  }
}

const texts = ['The old man, 1952.', '  \n\t naïve 😀 ﬁ e\u0301 \ud800 \0', '<|im_start|>user\nHi<|im_end|>', '▁<0x0A>']

/** Runs work within two seconds and 400 MB. */
function bounded<T>(work: () => T): T {
  const before = process.memoryUsage().rss
  const begun = performance.now()
  const result = work()
  assert.ok(performance.now() - begun < 2000, 'took two seconds')
  assert.ok(process.memoryUsage().rss - before < 400e6, 'took 400 MB')
  return result
}

/** "works", or the reason of a failure with words; anything else fails the test. */
function outcome(json: JsonObject): string {
  try {
    const tokenizer = createTokenizer('tokenizer.json', json)
    for (const text of texts) {
      const ids = tokenizer.encode(text)
      assert.ok(ids.every((id) => id >= 0 && id < tokenizer.vocabularySize))
      tokenizer.decode(ids)
      const { ends } = tokenizer.encodeWithOffsets(text)
      assert.ok(ends.every((end, i) => end >= (ends[i - 1] ?? 0) && end <= text.length))
    }
    return 'works'
  } catch (error) {
    if (!(error instanceof JobFailure)) throw error
    assert.match(error.message, /^tokenizer\.json/)
    return error.reason
  }
}

test('a tokenizer.json with something else anywhere works or is SourceInvalid', () => {
  const seen = new Map<string, number>()
  for (let round = 0; round < 300; round++) {
    const json = whole()
    for (let changes = 1 + random(3); changes > 0; changes--) mutate(json)
    const result = bounded(() => outcome(JSON.parse(JSON.stringify(json))))
    seen.set(result, (seen.get(result) ?? 0) + 1)
  }
  assert.deepEqual([...seen.keys()].sort(), ['SourceInvalid', 'works'])
})

test('an id far beyond all others costs no memory for those between', () => {
  const json = whole()
  const [first, ...rest] = json.added_tokens as object[]
  const tokenizer = bounded(() =>
    createTokenizer('tokenizer.json', { ...json, added_tokens: [{ ...first, id: 4_194_303 }, ...rest] }),
  )
  assert.equal(tokenizer.vocabularySize, 4_194_304)
  assert.equal(tokenizer.decode([4_194_303, 4_194_302, ...tokenizer.encode('sea')], false), '<|endoftext|>sea')
})

test('every pair of foreign parts works or is SourceInvalid', () => {
  for (const normalizer of parts)
    for (const pre_tokenizer of parts)
      outcome(
        structuredClone({ ...whole(), normalizer, pre_tokenizer, decoder: any(parts), post_processor: any(parts) }),
      )
})
