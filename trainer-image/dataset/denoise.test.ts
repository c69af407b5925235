import assert from 'node:assert/strict'
import { test } from 'node:test'
import { corrupt } from './denoise.ts'

const prose =
  'It was, as I have said, a very cold night; and the wind — which had been rising since noon — blew down the chimney! ' +
  '“Who is there?” she asked, for she could not see the door from where she sat by the fire with her book.'

const PINNED =
  'It was, I said a very night, cold and the wind rising since noon blew down chimney. Who is there. she asked she could not see the door where by book. fire'

test('a corruption is the same for the same seed and id, and another for another', () => {
  assert.equal(corrupt(prose, 42, 'a-1'), corrupt(prose, 42, 'a-1'))
  assert.notEqual(corrupt(prose, 42, 'a-1'), corrupt(prose, 42, 'a-2'))
  assert.notEqual(corrupt(prose, 42, 'a-1'), corrupt(prose, 43, 'a-1'))
})

test('the corruption of a known text is pinned: datasets of one spec keep their digest across versions', () =>
  assert.equal(corrupt(prose, 42, 'pinned'), PINNED))

test('over many ids the corruption loses words at the documented rates and never invents one', () => {
  const plain = (text: string) =>
    text
      .toLowerCase()
      .replace(/[^\p{L}\s]/gu, ' ')
      .split(/\s+/)
      .filter(Boolean)
  const vocabulary = new Set(plain(prose))
  let words = 0
  for (let i = 0; i < 500; i++) {
    const got = plain(corrupt(prose, 1, `${i}`))
    for (const word of got) assert.ok(vocabulary.has(word), word)
    words += got.length
  }
  // 18 of the 42 words carry content: 1 − (18·0.06 + 24·0.30)/42 = 0.80 of the words stay.
  const share = words / 500 / plain(prose).length
  assert.ok(share > 0.74 && share < 0.86, `${share}`)
})

const shapes = [
  { text: 'one word', given: 'Word' },
  { text: 'two equal words', given: 'aa aa' },
  { text: 'punctuation alone', given: '“—”' },
  { text: 'several lines', given: 'first line here\n\nsecond, line here' },
  { text: 'nothing but function words', given: 'it is what it is' },
]
for (const { text, given } of shapes)
  test(`the corruption of ${text} is not empty and keeps its lines`, () => {
    for (let i = 0; i < 50; i++) {
      const got = corrupt(given, 3, `${i}`)
      assert.match(got, /\S/)
      assert.equal(got.split('\n').length, given.split('\n').length)
    }
  })

test('quotation marks, dashes and exclamation marks are flattened', () => {
  for (let i = 0; i < 50; i++) assert.doesNotMatch(corrupt(prose, 5, `${i}`), /[“”"—!?;:]/)
})
