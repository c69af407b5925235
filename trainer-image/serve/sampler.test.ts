import assert from 'node:assert/strict'
import { test } from 'node:test'
import { choiceOf, type Sampling } from './sampler.ts'

const sampling = (changes: Partial<Sampling> = {}): Sampling => ({
  temperature: 1,
  topP: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  topLogprobs: undefined,
  ...changes,
})
const counts = new Map([
  [7, 1],
  [3, 4],
])

// Which token a choice gives is sampling.h's, and tested in test/parity/sampling.cc.
test('tokens said before are penalised once by presence and each time by frequency', () => {
  const { tokens, penalties } = choiceOf(sampling({ presencePenalty: 1, frequencyPenalty: 0.5 }), counts, 0)
  assert.deepEqual([...tokens], [7, 3])
  assert.deepEqual([...penalties], [1.5, 3])
})

test('without penalties the engine is told of no token', () => {
  assert.equal(choiceOf(sampling(), counts, 0).tokens.length, 0)
})

test('the rest goes to the engine as it was asked for, and no log-probability where none was', () => {
  const { temperature, topP, random, alternatives } = choiceOf(sampling({ temperature: 0.5, topP: 0.9 }), counts, 0.25)
  assert.deepEqual(
    { temperature, topP, random, alternatives },
    { temperature: 0.5, topP: 0.9, random: 0.25, alternatives: -1 },
  )
  assert.equal(choiceOf(sampling({ topLogprobs: 0 }), counts, 0).alternatives, 0)
})
