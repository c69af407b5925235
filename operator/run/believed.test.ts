import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Checkpoint } from '#proto/humanizer/trainer/v1/run.ts'
import { believed } from './believed.ts'

const digest = `sha256:${'a'.repeat(64)}`
const good = {
  name: 'checkpoint-30',
  step: 30,
  digest,
  path: 'runs/n/r/u/checkpoint-30',
  evaluation: { step: 30, loss: 1.9 },
}

const cases: { readonly saying: string; readonly changes: object; readonly left?: object; readonly doubt?: RegExp }[] =
  [
    { saying: 'what can be so', changes: {}, left: {} },
    { saying: 'no step of its evaluation, as a short result', changes: { evaluation: { loss: 1.9 } }, left: {} },
    {
      saying: 'no digest',
      changes: { digest: '' },
      doubt: /^checkpoint-30 is left out: its digest is "", expected a sha256$/,
    },
    { saying: 'a name for a digest', changes: { digest: 'latest' }, doubt: /its digest is "latest"/ },
    { saying: 'a step before the first', changes: { step: -1 }, doubt: /its step is -1, expected a positive number$/ },
    {
      saying: 'the evaluation of another step',
      changes: { evaluation: { step: 15, loss: 1.2 } },
      left: { evaluation: undefined },
      doubt: /^the evaluation of checkpoint-30 is left out: it is of step 15$/,
    },
    {
      saying: 'a loss below zero',
      changes: { evaluation: { step: 30, loss: -0.4 } },
      left: { evaluation: undefined },
      doubt: /its loss is -0\.4, expected at least 0$/,
    },
    { saying: 'a path beyond the claim', changes: { path: '/etc' }, left: { path: '' } },
    { saying: 'a path that climbs out', changes: { path: 'runs/../../etc' }, left: { path: '' } },
    { saying: 'the name of another checkpoint', changes: { name: 'checkpoint-15' }, left: { name: '' } },
  ]
for (const { saying, changes, left, doubt } of cases)
  test(`a trainer that says ${saying} is ${doubt ? 'doubted in words' : 'heard as far as that goes'}`, () => {
    const checkpoint = Checkpoint.fromPartial({ ...good, ...changes })
    const { checkpoints, doubts } = believed({ checkpoints: [checkpoint] })
    assert.deepEqual(checkpoints, left ? [{ ...checkpoint, ...left }] : [])
    assert.equal(doubts.length, doubt ? 1 : 0)
    if (doubt) assert.match(doubts[0]!, doubt)
  })
