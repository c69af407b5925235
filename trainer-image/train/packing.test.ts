import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomOf } from '../dataset/random.ts'
import { packBins, packingEfficiency, StepOrder, shuffled, singleBins } from './packing.ts'

const random = randomOf(1, 'lengths')
const lengths = Array.from({ length: 500 }, () => 1 + Math.floor(random() * 256))

test('every example is in exactly one bin and no bin overflows', () => {
  const bins = packBins(lengths, 256, 42)
  assert.deepEqual(
    bins.flat().sort((a, b) => a - b),
    [...lengths.keys()],
  )
  for (const bin of bins) assert.ok(bin.reduce((sum, example) => sum + lengths[example]!, 0) <= 256)
})

test('best-fit-decreasing fills the room nearly', () => {
  assert.ok(packingEfficiency(packBins(lengths, 256, 42), lengths, 256) > 0.97)
})

test('the efficiency is the share of the room that holds tokens', () => {
  assert.equal(packingEfficiency([[0, 1], [2]], [5, 4, 3], 10), 12 / 20)
  assert.equal(packingEfficiency([], [], 10), 0)
})

test('every order is as likely as another', () => {
  const counts = new Map<string, number>()
  for (let seed = 0; seed < 1200; seed++) {
    const order = shuffled(['a', 'b', 'c'], seed, 'order').join('')
    counts.set(order, (counts.get(order) ?? 0) + 1)
  }
  assert.equal(counts.size, 6)
  // Of 1,200 draws each of six comes 200 times; the seeds are fixed, five standard deviations are 65.
  for (const [order, count] of counts) assert.ok(Math.abs(count - 200) < 65, `${order} ${count} times`)
})

test('an example goes into the fullest bin that still holds it', () => {
  const bins = packBins([6, 5, 4, 3], 10, 0).map((bin) => [...bin].sort())
  assert.deepEqual(bins, [
    [0, 2],
    [1, 3],
  ])
})

test('the same seed packs the same; another seed mixes equally long examples otherwise', () => {
  const equal = Array.from({ length: 40 }, () => 100)
  assert.deepEqual(packBins(equal, 256, 42), packBins(equal, 256, 42))
  assert.notDeepEqual(packBins(equal, 256, 42), packBins(equal, 256, 43))
})

test('an example that is too long is named', () => {
  assert.throws(() => packBins([5, 11], 10, 0), /example 1 has 11 tokens; expected 1 to 10/)
})

test('each epoch sees every bin once, in an order of its own, and the last step of an epoch is partial', () => {
  const bins = singleBins(10)
  const order = new StepOrder(bins, 4, 42)
  const epoch = (first: number) => [0, 1, 2].map((step) => order.sequencesOf(first + step))
  const [one, two] = [epoch(1), epoch(4)]
  assert.deepEqual(
    one.map(({ length }) => length),
    [4, 4, 2],
  )
  for (const each of [one, two])
    assert.deepEqual(
      each.flat(2).sort((a, b) => a - b),
      [...bins.keys()],
    )
  assert.notDeepEqual(one, two)
})

test('what a step sees depends on nothing but its number', () => {
  const bins = singleBins(10)
  const forward = new StepOrder(bins, 4, 42)
  const whole = Array.from({ length: 9 }, (_, step) => forward.sequencesOf(step + 1))
  for (const step of [7, 2, 9, 5]) assert.deepEqual(new StepOrder(bins, 4, 42).sequencesOf(step), whole[step - 1])
})
