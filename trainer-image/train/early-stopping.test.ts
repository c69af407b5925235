import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judge, newStanding } from './early-stopping.ts'

const cases = [
  { a_run: 'keeps the lowest loss', losses: [2, 1.8, 1.9, 1.7], patience: 3, min: 0, best: 4, stopsAt: undefined },
  {
    a_run: 'stops after `patience` evaluations without a better one',
    losses: [2, 2.1, 2.2, 1],
    patience: 2,
    min: 0,
    best: 1,
    stopsAt: 3,
  },
  { a_run: 'never stops with patience 0', losses: [1, 2, 3, 4, 5], patience: 0, min: 0, best: 1, stopsAt: undefined },
  {
    a_run: 'takes a tiny gain for the best but not for progress',
    losses: [2, 1.99, 1.98],
    patience: 2,
    min: 0.05,
    best: 3,
    stopsAt: 3,
  },
  {
    a_run: 'takes a gain of just minImprovement for none',
    losses: [2, 1.5, 1, 0.5],
    patience: 3,
    min: 0.5,
    best: 4,
    stopsAt: 4,
  },
  {
    a_run: 'with patience 1 stops at the first evaluation that is no better',
    losses: [2, 1, 1.5, 0],
    patience: 1,
    min: 0,
    best: 2,
    stopsAt: 3,
  },
  { a_run: 'begins with all its patience', losses: [Number.NaN, 3], patience: 2, min: 0, best: 2, stopsAt: undefined },
  { a_run: 'counts an equal loss as no improvement', losses: [2, 2, 2], patience: 2, min: 0, best: 1, stopsAt: 3 },
  {
    a_run: 'counts a loss that is not finite as no improvement',
    losses: [2, Number.NaN, Number.POSITIVE_INFINITY],
    patience: 2,
    min: 0,
    best: 1,
    stopsAt: 3,
  },
]
for (const { a_run, losses, patience, min, best, stopsAt } of cases)
  test(`a run ${a_run}`, () => {
    let standing = newStanding
    let stopped: number | undefined
    for (const [index, loss] of losses.entries()) {
      const judgement = judge(standing, index + 1, loss, { patience, minImprovement: min })
      standing = judgement.standing
      if (!judgement.stop) continue
      stopped = index + 1
      break
    }
    assert.equal(standing.best?.step, best)
    assert.equal(stopped, stopsAt)
  })

test('the baseline is never the best, whatever its loss', () => {
  const { standing, newBest, stop } = judge(newStanding, 0, 0.1, { patience: 1, minImprovement: 0 })
  assert.deepEqual([newBest, stop], [false, false])
  assert.equal(judge(standing, 5, 3, { patience: 1, minImprovement: 0 }).newBest, true)
})
