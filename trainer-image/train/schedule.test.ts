import assert from 'node:assert/strict'
import { test } from 'node:test'
import { learningRate, type Schedule, schedule } from './schedule.ts'

const training = { epochs: 2, maxSteps: 0, warmupRatio: 0.03, learningRate: 1.5e-4, learningRateSchedule: 'Cosine' }

const totals = [
  { a_run: 'of two epochs counts the partial last step of each', change: {}, bins: 33, perStep: 16, want: [6, 3, 1] },
  { a_run: 'of half an epoch rounds up', change: { epochs: 0.5 }, bins: 33, perStep: 16, want: [2, 3, 1] },
  { a_run: 'with maxSteps ignores epochs', change: { maxSteps: 100 }, bins: 33, perStep: 16, want: [100, 3, 3] },
  { a_run: 'of one step is of one', change: { maxSteps: 1 }, bins: 33, perStep: 16, want: [1, 3, 1] },
  { a_run: 'without warmup has none', change: { warmupRatio: 0 }, bins: 16, perStep: 16, want: [2, 1, 0] },
]
for (const { a_run, change, bins, perStep, want } of totals)
  test(`a run ${a_run}`, () => {
    const { totalSteps, stepsPerEpoch, warmupSteps } = schedule({ ...training, ...change }, bins, perStep)
    assert.deepEqual([totalSteps, stepsPerEpoch, warmupSteps], want)
  })

const of = (shape: Schedule['shape'], warmupSteps = 2): Schedule => ({
  totalSteps: 10,
  stepsPerEpoch: 5,
  warmupSteps,
  peak: 1,
  shape,
})
const rates = [
  { name: 'warmup ends at the peak', schedule: of('Cosine'), step: 2, want: 1 },
  { name: 'the first step already learns', schedule: of('Cosine'), step: 1, want: 0.5 },
  { name: 'cosine begins at the peak', schedule: of('Cosine'), step: 3, want: 1 },
  { name: 'cosine is at half way after half the steps', schedule: of('Cosine'), step: 7, want: 0.5 },
  { name: 'the last step still learns', schedule: of('Cosine'), step: 10, want: (1 + Math.cos((7 * Math.PI) / 8)) / 2 },
  { name: 'a warmup of all steps but one', schedule: of('Linear', 9), step: 10, want: 1 },
  { name: 'linear falls evenly', schedule: of('Linear'), step: 5, want: 0.75 },
  { name: 'constant stays', schedule: of('Constant'), step: 10, want: 1 },
  { name: 'without warmup the first step is at the peak', schedule: of('Linear', 0), step: 1, want: 1 },
]
for (const { name, schedule, step, want } of rates)
  test(name, () => assert.ok(Math.abs(learningRate(schedule, step) - want) < 1e-12))
