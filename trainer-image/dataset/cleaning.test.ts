import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleaning } from '#proto/humanizer/trainer/v1/preparation.ts'
import { clean, normalForm } from './cleaning.ts'

const rules: Cleaning = {
  minCharacters: 10,
  maxCharacters: 20,
  minWords: 3,
  removeUrls: true,
  removeEmails: true,
  languages: [],
}
const judged = [
  { text: 'is kept at exactly the shortest length', given: 'ab cd efgh', want: 'kept' },
  { text: 'is too short one below it', given: 'ab cd efg', want: 'tooShort' },
  { text: 'is kept at exactly the longest length', given: 'abcdef hijklm opqrst', want: 'kept' },
  { text: 'is too long one above it', given: 'abcdef hijklm opqrstu', want: 'tooLong' },
  { text: 'counts an emoji as one character', given: `ab cd ${'😀'.repeat(14)}`, want: 'tooFewWords' },
  { text: 'is measured after its address is removed', given: 'a b c https://example.org/long', want: 'tooShort' },
  { text: 'with too few words', given: 'abcdefgh ijkl', want: 'tooFewWords' },
  { text: 'does not count dashes as words', given: 'abcde — fghij —', want: 'tooFewWords' },
]
for (const { text, given, want } of judged)
  test(`a text ${text}`, () => {
    const got = clean(given, rules)
    assert.equal(got.kind === 'kept' ? 'kept' : got.rule, want)
  })

test('cleaning is idempotent', () => {
  const given = 'See (https://x.example/y),  or\u00a0write to\tjane@example.org .\r\n\r\n\r\nNext\u200b one.'
  const once = clean(given, { ...rules, minCharacters: 0, maxCharacters: 1000, minWords: 0 })
  const twice = clean(once.text, { ...rules, minCharacters: 0, maxCharacters: 1000, minWords: 0 })
  assert.equal(twice.text, once.text)
})

test('hostile runs of one character take linear time', () => {
  for (const run of ['a', '@', '.', '-', 'a.', '(', '[', 'www.', 'http://', '[a](', ')', ']', ' \n', '< ']) {
    const text = `http://a${run.repeat(200_000 / run.length)}`
    const start = performance.now()
    clean(text, rules)
    assert.ok(performance.now() - start < 3000, `${run} took ${performance.now() - start} ms`)
  }
})

test('the normal form', () => {
  assert.equal(normalForm(' The  QUICK\nfox '), 'the quick fox')
})
