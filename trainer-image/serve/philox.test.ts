import assert from 'node:assert/strict'
import { test } from 'node:test'
import { philox, uniform, type Words } from './philox.ts'

// Known answers of Random123's kat_vectors, philox4x32 10 rounds.
const cases: { counter: Words; key: [number, number]; want: Words }[] = [
  { counter: [0, 0, 0, 0], key: [0, 0], want: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8] },
  {
    counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    key: [0xffffffff, 0xffffffff],
    want: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  },
  {
    counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    key: [0xa4093822, 0x299f31d0],
    want: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  },
]
for (const { counter, key, want } of cases) {
  test(`philox of counter ${counter[0].toString(16)} is Random123's`, () => {
    assert.deepEqual(philox(counter, key), want)
  })
}

test('uniform numbers of one seed lie in [0, 1), average a half and differ by choice, position and seed', () => {
  const numbers = Array.from({ length: 4000 }, (_, position) => uniform(7, 0, position))
  assert.ok(numbers.every((value) => value >= 0 && value < 1))
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length
  assert.ok(Math.abs(mean - 0.5) < 0.02, `mean ${mean}`)
  assert.equal(new Set([...numbers, uniform(7, 1, 0), uniform(8, 0, 0), uniform(-7, 0, 0)]).size, 4003)
})
