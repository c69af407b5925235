import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomOf } from '../dataset/random.ts'
import { SharedRuns } from './memorisation.ts'

const tokens = (count: number, seed: number, vocabulary = 50): Int32Array => {
  const random = randomOf(seed, 'tokens')
  return Int32Array.from({ length: count }, () => Math.floor(random() * vocabulary))
}

test('a run of 60 tokens that was planted is found whole, wherever it lies', () => {
  const training = [tokens(300, 1), tokens(300, 2)]
  const output = tokens(200, 3)
  output.set(training[1]!.subarray(240, 300), 90)
  const runs = new SharedRuns([output, tokens(100, 4), training[0]!.slice()])
  for (const text of training) runs.pass(text)
  assert.deepEqual(runs.longest, [60, 0, 300])
})

test('the longest run is that of a search through all pairs of places', () => {
  const [few, many] = [
    [tokens(60, 5, 2), tokens(60, 6, 2)],
    [tokens(80, 7, 2), tokens(80, 8, 2)],
  ] as const
  const runs = new SharedRuns(few)
  for (const text of many) runs.pass(text)
  const slow = (a: Int32Array, b: Int32Array): number => {
    let best = 0
    for (let i = 0; i < a.length; i++)
      for (let j = 0; j < b.length; j++) {
        let length = 0
        while (i + length < a.length && j + length < b.length && a[i + length] === b[j + length]) length++
        best = Math.max(best, length)
      }
    return best
  }
  const expected = few.map((text) => Math.max(...many.map((other) => slow(text, other))))
  assert.deepEqual(runs.longest, expected)
  assert.ok(expected.every((length) => length >= 8))
})
