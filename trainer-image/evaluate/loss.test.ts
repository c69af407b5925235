import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomOf } from '../dataset/random.ts'
import { estimateLoss } from './loss.ts'
import { evaluationSubset } from './subset.ts'

test('the loss is the mean over labels, not over documents', () => {
  const { loss, labelTokens } = estimateLoss(
    [
      { id: 'a', nll: 30, labelTokens: 10 },
      { id: 'b', nll: 10, labelTokens: 90 },
    ],
    1,
  )
  assert.deepEqual([loss, labelTokens], [0.4, 100])
})

test('the interval is that of the mean: about 1.96 standard errors', () => {
  const random = randomOf(3, 'noise')
  const documents = Array.from({ length: 400 }, (_, i) => ({
    id: `${i}`,
    nll: 100 * (2 + random() - 0.5),
    labelTokens: 100,
  }))
  const { interval } = estimateLoss(documents, 42)
  const expected = 1.96 * Math.sqrt(1 / 12 / 400)
  assert.ok(Math.abs(interval! / expected - 1) < 0.15, `${interval} against ${expected}`)
})

test('pieces of one text are resampled together', () => {
  const pieces = Array.from({ length: 100 }, (_, i) => ({
    id: i < 50 ? 'a' : 'b',
    nll: i < 50 ? 1 : 3,
    labelTokens: 1,
  }))
  assert.ok(estimateLoss(pieces, 42).interval! >= 0.99, 'two documents of loss 1 and 3 tell little about the mean')
})

const edges = [
  { given: 'no documents', pieces: [], loss: undefined, interval: undefined },
  { given: 'one document', pieces: [{ id: 'a', nll: 2, labelTokens: 1 }], loss: 2, interval: undefined },
  {
    given: 'a loss that is not finite',
    pieces: [{ id: 'a', nll: Number.NaN, labelTokens: 1 }],
    loss: undefined,
    interval: undefined,
  },
]
for (const { given, pieces, loss, interval } of edges)
  test(`${given} gives loss ${loss} and interval ${interval}`, () => {
    const estimate = estimateLoss(pieces, 1)
    assert.deepEqual([estimate.loss, estimate.interval], [loss, interval])
  })

test('the subset is fixed by the seed and holds to both limits, but is never empty', () => {
  const examples = Array.from({ length: 50 }, (_, i) => ({ id: i, labelTokens: 100 }))
  const take = (maxExamples: number, maxLabelTokens: number, seed = 42) =>
    evaluationSubset(examples, { maxExamples, maxLabelTokens }, seed)
  assert.equal(take(8, 5000).length, 8)
  assert.equal(take(100, 950).length, 9)
  assert.equal(take(100, 10).length, 1)
  assert.deepEqual(take(8, 5000), take(8, 5000))
  assert.notDeepEqual(take(8, 5000), take(8, 5000, 43))
})
