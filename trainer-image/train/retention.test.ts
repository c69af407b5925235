import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomOf } from '../dataset/random.ts'
import { prunable } from './retention.ts'

const checkpoints = [10, 20, 30, 40, 50].map((step) => ({ step, digest: `d${step}` }))
const cases = [
  { rule: 'keeps the newest three', keep: 3, best: 50, gone: [20, 10] },
  { rule: 'keeps the best beside them', keep: 2, best: 10, gone: [30, 20] },
  { rule: 'keeps the newest even with keep 0', keep: 0, best: 20, gone: [40, 30, 10] },
  { rule: 'knows no best before the first evaluation', keep: 4, best: undefined, gone: [10] },
  { rule: 'keeps what a release refers to', keep: 1, best: 40, referred: ['d10', 'd30', 'dd'], gone: [20] },
]
for (const { rule, keep, best, gone, referred } of cases)
  test(`retention ${rule}`, () =>
    assert.deepEqual(
      prunable(checkpoints, keep, best, new Set(referred)).map(({ step }) => step),
      gone,
    ))

test('trap 14: whatever the losses, the best and the newest are always there', () => {
  const random = randomOf(7, 'losses')
  for (let keep = 0; keep < 4; keep++) {
    let kept: { step: number; digest: string }[] = []
    let best = { step: 0, loss: Number.POSITIVE_INFINITY }
    for (let step = 1; step <= 60; step++) {
      const loss = random()
      if (loss < best.loss) best = { step, loss }
      kept.push({ step, digest: `d${step}` })
      const gone = prunable(kept, keep, best.step, new Set())
      kept = kept.filter((each) => !gone.includes(each))
      const steps = kept.map((each) => each.step)
      assert.ok(steps.includes(best.step) && steps.includes(step))
      assert.ok(kept.length <= Math.max(1, keep) + 1)
    }
  }
})
