import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomOf } from '../dataset/random.ts'
import { estimateLoss, lossesByText, pairedImprovement, perplexityOf } from './loss.ts'
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

test('a model that finds each of ten tokens as likely has perplexity ten, and its interval is that of the loss', () => {
  const { value, interval } = perplexityOf({ loss: Math.log(10), interval: Math.log(2), labelTokens: 5 })!
  const near = (a: number, b: number): boolean => Math.abs(a - b) < 1e-9
  assert.ok(near(value, 10) && near(interval!.low, 5) && near(interval!.high, 20))
  assert.equal(perplexityOf({ loss: undefined, interval: undefined, labelTokens: 0 }), undefined)
  assert.equal(perplexityOf({ loss: 0, interval: undefined, labelTokens: 1 })?.interval, undefined)
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
  assert.ok(
    estimateLoss(lossesByText(pieces), 42).interval! >= 0.99,
    'two documents of loss 1 and 3 tell little about the mean',
  )
})

test('an improvement that every text shares has a narrow paired interval, however far the texts lie apart', () => {
  const random = randomOf(4, 'texts')
  const before = Array.from({ length: 100 }, (_, i) => ({
    id: `${i}`,
    nll: 100 * (2 + 3 * random()),
    labelTokens: 100,
  }))
  const after = before.map((text) => ({ ...text, nll: text.nll - 100 * (0.1 + 0.02 * (random() - 0.5)) }))
  const { value, interval } = pairedImprovement(before, after.toReversed(), 42)!
  assert.ok(Math.abs(value - 0.1) < 0.002, `${value}`)
  const expected = (1.96 * 0.02) / Math.sqrt(12 * 100)
  assert.ok(Math.abs((interval!.high - interval!.low) / 2 / expected - 1) < 0.2, JSON.stringify(interval))
  assert.ok(
    expected < estimateLoss(before, 42).interval! / 100,
    'the unpaired one is more than a hundred times as wide',
  )
  assert.deepEqual(pairedImprovement(before, after, 42), pairedImprovement(before, after, 42))
})

test('losses of different texts, or of differently cut ones, are not paired', () => {
  const text = { id: 'a', nll: 3, labelTokens: 2 }
  assert.equal(pairedImprovement([], [text], 1), undefined)
  assert.equal(pairedImprovement([text], [{ ...text, id: 'b' }], 1), undefined)
  assert.equal(pairedImprovement([text], [{ ...text, labelTokens: 3 }], 1), undefined)
  assert.deepEqual(pairedImprovement([text], [{ ...text, nll: 1 }], 1), { value: 1, interval: undefined })
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
