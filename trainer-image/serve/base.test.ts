import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeWithin } from './base.ts'

/** One token per word, and how many characters were ever encoded. */
function wordTokenizer(): { encode(text: string): Int32Array; characters: number } {
  return {
    characters: 0,
    encode(text) {
      this.characters += text.length
      return new Int32Array(text.split(' ').filter((word) => word !== '').length)
    },
  }
}

test('a text that fits is encoded whole and once', () => {
  const tokenizer = wordTokenizer()
  assert.equal(encodeWithin(tokenizer, 'one two three', 10).length, 3)
  assert.equal(tokenizer.characters, 13)
})

test('of a text that is far too long only enough is encoded to know it', () => {
  const tokenizer = wordTokenizer()
  assert.ok(encodeWithin(tokenizer, 'word '.repeat(1_000_000), 1000).length > 1000)
  assert.ok(tokenizer.characters < 20_000, `${tokenizer.characters} characters`)
})

test('a long text of few tokens is encoded whole', () => {
  const text = `${' '.repeat(100_000)}word`
  assert.equal(encodeWithin(wordTokenizer(), text, 1000).length, 1)
})
