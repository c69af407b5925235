import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CopyBaselines, wordF1 } from './copy-baseline.ts'

const scores = [
  { of: 'the same text', input: 'a b c', target: 'a b c', want: 1 },
  { of: 'the same words in another order', input: 'c b a', target: 'a b c', want: 1 },
  { of: 'nothing in common', input: 'x y', target: 'a b', want: 0 },
  { of: 'half of the words', input: 'a', target: 'a b c', want: 0.5 },
  { of: 'a word repeated counts as often as both have it', input: 'a a a', target: 'a b', want: 2 / 5 },
  { of: 'nothing', input: '', target: ' ', want: 0 },
]
for (const { of, input, target, want } of scores)
  test(`copying scores ${want.toFixed(2)} for ${of}`, () => assert.equal(wordF1(input, target), want))

test('the mean is told for each kind of sample', () => {
  const baselines = new CopyBaselines()
  baselines.add({ kind: 'Denoise', input: 'a', target: 'a b c' })
  baselines.add({ kind: 'Denoise', input: 'a b c', target: 'a b c' })
  baselines.add({ kind: 'Paired', input: 'x', target: 'y' })
  assert.deepEqual(baselines.all, [
    { kind: 'Denoise', examples: 2, wordF1: 0.75 },
    { kind: 'Paired', examples: 1, wordF1: 0 },
  ])
})
