import assert from 'node:assert/strict'
import { test } from 'node:test'
import { proportion } from './proportion.ts'

const answers = (yes: number, of: number): boolean[] => Array.from({ length: of }, (_, i) => i < yes)

// Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3.
const published: { yes: number; of: number; low: number; high: number }[] = [
  { yes: 81, of: 263, low: 0.2553, high: 0.3662 },
  { yes: 15, of: 148, low: 0.0624, high: 0.1605 },
  { yes: 0, of: 20, low: 0, high: 0.1611 },
  { yes: 1, of: 29, low: 0.0061, high: 0.1718 },
]
for (const { yes, of, low, high } of published)
  test(`${yes} of ${of} has the published interval`, () => {
    const { value, interval } = proportion(answers(yes, of))!
    assert.equal(value, yes / of)
    assert.deepEqual([interval!.low.toFixed(4), interval!.high.toFixed(4)], [low.toFixed(4), high.toFixed(4)])
  })

test('all or none of a few answers prove little, and the value never lies outside its interval', () => {
  assert.ok(proportion(answers(2, 2))!.interval!.low < 0.35)
  assert.ok(proportion(answers(0, 2))!.interval!.high > 0.65)
  for (let of = 1; of < 60; of++)
    for (let yes = 0; yes <= of; yes++) {
      const { value, interval } = proportion(answers(yes, of))!
      assert.ok(interval!.low >= 0 && interval!.low <= value && value <= interval!.high && interval!.high <= 1)
    }
})

test('nothing asked is no proportion', () => assert.equal(proportion([]), undefined))
