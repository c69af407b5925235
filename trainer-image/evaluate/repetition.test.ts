import assert from 'node:assert/strict'
import { test } from 'node:test'
import { distinct, repeatedStarts, sequenceRepetition } from './repetition.ts'

const cases = [
  { text: 'a b c d e', seqRep4: 0, distinct2: 1 },
  { text: 'a a a a a a', seqRep4: 1 - 1 / 3, distinct2: 1 / 5 },
  { text: 'a b a b a b', seqRep4: 1 - 2 / 3, distinct2: 2 / 5 },
  { text: 'A b, c! D e?', seqRep4: 0, distinct2: 1 },
  { text: 'one two three', seqRep4: undefined, distinct2: 1 },
  { text: '', seqRep4: undefined, distinct2: undefined },
]
for (const { text, seqRep4, distinct2 } of cases)
  test(`"${text}" has seq-rep-4 ${seqRep4} and distinct-2 ${distinct2}`, () => {
    assert.deepEqual([sequenceRepetition(text, 4), distinct(text, 2)], [seqRep4, distinct2])
  })

test('two of four sentences begin as an earlier one', () => {
  const text = 'It is late. It is cold. We went home. It is, I think, over.'
  assert.equal(repeatedStarts(text), 0.5)
  assert.equal(repeatedStarts('Only one sentence here.'), undefined)
})
