import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Sampling, sample } from './sampler.ts'

const sampling = (changes: Partial<Sampling> = {}): Sampling => ({
  temperature: 1,
  topP: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  topLogprobs: undefined,
  ...changes,
})
const none = new Map<number, number>()
/** Logits of the probabilities 0.1, 0.2, 0.3, 0.4. */
const tenths = Float32Array.from([0.1, 0.2, 0.3, 0.4], Math.log)

const cases: {
  choosing: string
  with: Partial<Sampling>
  random: number
  counts?: [number, number][]
  want: number
}[] = [
  {
    choosing: 'takes the largest at temperature 0, whatever the random number',
    with: { temperature: 0 },
    random: 0,
    want: 3,
  },
  { choosing: 'takes the first token for the smallest random numbers', with: {}, random: 0.05, want: 0 },
  { choosing: 'takes the second token from where the first ends', with: {}, random: 0.15, want: 1 },
  { choosing: 'takes the last token for the largest random numbers', with: {}, random: 0.999999, want: 3 },
  { choosing: 'leaves out what top_p does not need', with: { topP: 0.65 }, random: 0, want: 2 },
  { choosing: 'shares the nucleus by weight', with: { topP: 0.65 }, random: 0.42, want: 2 },
  { choosing: 'shares the nucleus by weight to its end', with: { topP: 0.65 }, random: 0.44, want: 3 },
  { choosing: 'keeps one token when top_p is 0', with: { topP: 0 }, random: 0.99, want: 3 },
  { choosing: 'keeps everything when top_p is 1 but for rounding', with: { topP: 1 - 2 ** -53 }, random: 0, want: 0 },
  { choosing: 'sharpens at a low temperature', with: { temperature: 0.1 }, random: 0.1, want: 3 },
  {
    choosing: 'avoids what was said before, by presence',
    with: { temperature: 0, presencePenalty: 1 },
    random: 0,
    counts: [[3, 1]],
    want: 2,
  },
  {
    choosing: 'avoids what was said often, by frequency',
    with: { temperature: 0, frequencyPenalty: 0.2 },
    random: 0,
    counts: [[3, 2]],
    want: 2,
  },
  {
    choosing: 'says again what frequency does not forbid',
    with: { temperature: 0, frequencyPenalty: 0.1 },
    random: 0,
    counts: [[3, 2]],
    want: 3,
  },
]
for (const { choosing, with: changes, random, counts, want } of cases) {
  test(`choosing a token ${choosing}`, () => {
    assert.equal(sample(tenths, sampling(changes), new Map(counts), random).id, want)
  })
}

test('equal tokens at the edge of the nucleus are all kept, so order does not matter', () => {
  const equal = new Float32Array(4)
  const seen = [0, 0.3, 0.6, 0.9].map((random) => sample(equal, sampling({ topP: 0.5 }), none, random).id)
  assert.deepEqual(seen, [0, 1, 2, 3])
})

test('log-probabilities are the model own, before temperature, and come largest first', () => {
  const { id, logprob, top } = sample(tenths, sampling({ temperature: 0, topLogprobs: 2 }), none, 0)
  assert.equal(id, 3)
  assert.ok(Math.abs(logprob! - Math.log(0.4)) < 1e-6)
  assert.deepEqual(
    top.map((entry) => entry.id),
    [3, 2],
  )
  assert.ok(Math.abs(top[1]!.logprob - Math.log(0.3)) < 1e-6)
})

test('drawn tokens follow the probabilities', () => {
  const draws = 2000
  const counts = [0, 0, 0, 0]
  for (let index = 0; index < draws; index++) {
    const { id } = sample(tenths, sampling(), none, (index + 0.5) / draws)
    counts[id]! += 1
  }
  assert.deepEqual(counts, [200, 400, 600, 800])
})

test('a logit that is no number is an error, not an answer', () => {
  assert.throws(
    () => sample(Float32Array.of(Number.NaN, Number.NaN), sampling({ temperature: 0 }), none, 0),
    /expected a finite/,
  )
})
