import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cut } from './cut.ts'

const atMost = (characters: number) => (piece: string) => piece.length <= characters
const text = 'One two. Three four.\n\nFive six seven. Eight.\n\nNine.'

const cases = [
  { limit: 100, pieces: [text], dropped: 0, where: 'nowhere when it fits' },
  {
    limit: 48,
    pieces: ['One two. Three four.\n\nFive six seven. Eight.', 'Nine.'],
    dropped: 0,
    where: 'between paragraphs',
  },
  {
    limit: 22,
    pieces: ['One two. Three four.', 'Five six seven. Eight.', 'Nine.'],
    dropped: 0,
    where: 'at each paragraph',
  },
  {
    limit: 15,
    pieces: ['One two.', 'Three four.', 'Five six seven.', 'Eight.\n\nNine.'],
    dropped: 0,
    where: 'between sentences of a paragraph that does not fit',
  },
  {
    limit: 11,
    pieces: ['One two.', 'Three four.', 'Eight.', 'Nine.'],
    dropped: 1,
    where: 'around a sentence that fits nowhere',
  },
  { limit: 3, pieces: [], dropped: 5, where: 'to nothing when no sentence fits' },
]
for (const { limit, pieces, dropped, where } of cases)
  test(`a text is cut ${where}`, () => {
    const { droppedCharacters, ...rest } = cut(text, atMost(limit))
    assert.deepEqual(rest, { pieces, dropped })
    assert.equal(droppedCharacters > 0, dropped > 0)
  })

test('no piece is longer than what fits and nothing but dropped sentences is lost', () => {
  const long = Array.from(
    { length: 60 },
    (_, i) => `Sentence number ${i} says ${'so '.repeat(i % 7)}much.${i % 9 ? ' ' : '\n\n'}`,
  ).join('')
  const { pieces, dropped } = cut(long, atMost(90))
  assert.equal(dropped, 0)
  assert.ok(pieces.every((piece) => piece.length <= 90 && /[A-Z].*\.$/s.test(piece)))
  const words = (value: string) => value.split(/\s+/).filter((word) => word !== '')
  assert.deepEqual(words(pieces.join(' ')), words(long))
})
