import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import type { SealedCheckpoint } from './checkpoint.ts'
import { inexactness, resumedProgress, standingOnDisk } from './resume.ts'

const environment = {
  threads: 2,
  instructionPath: 'avx2' as const,
  oneDnnVersion: '3.9',
  compiler: 'gcc',
  arithmetic: 2,
  node: 'v24',
  microBatchSize: 4,
}
const sealed = (step: number, evaluation?: Partial<EvaluationResult>, exact = true): SealedCheckpoint => ({
  name: `checkpoint-${step}`,
  step,
  digest: '',
  directory: '',
  evaluation: evaluation && EvaluationResult.fromPartial(evaluation),
  environment,
  exact,
})

const standing = { best: { step: 10, loss: 1 }, withoutImprovement: 2 }
const found = [
  { left: 'the best itself', sealed: [sealed(10, { loss: 1 }), sealed(20, { loss: 2 })], best: standing.best },
  {
    left: 'others that were evaluated',
    sealed: [sealed(15, { loss: 1.5 }), sealed(20, { loss: 1.3 }), sealed(25, { loss: 1.4 }), sealed(27)],
    best: { step: 20, loss: 1.3 },
  },
  {
    left: 'others, by the loss of human text',
    sealed: [sealed(15, { loss: 0.1, humanLoss: 3 }), sealed(20, { loss: 0.2, humanLoss: 2 })],
    best: { step: 20, loss: 2 },
  },
  { left: 'one whose loss was not finite and one of a stop', sealed: [sealed(15, {}), sealed(20)], best: undefined },
]
for (const { left, sealed, best } of found)
  test(`when what is left is ${left}, the best is ${best ? `checkpoint-${best.step}` : 'unknown'} and patience goes on`, () =>
    assert.deepEqual(standingOnDisk(standing, sealed), { best, withoutImprovement: 2 }))

const resumes = [
  { from: 'nothing, where the run was planned', newest: undefined, now: environment, exact: true },
  { from: 'nothing, elsewhere', newest: undefined, now: { ...environment, node: 'v25' }, exact: false },
  { from: 'an exact checkpoint', newest: sealed(5), now: environment, exact: true },
  { from: 'an exact checkpoint, elsewhere', newest: sealed(5), now: { ...environment, threads: 1 }, exact: false },
  {
    from: 'one that was not exact, where the run was planned',
    newest: sealed(5, {}, false),
    now: environment,
    exact: false,
  },
]
for (const { from, newest, now, exact } of resumes)
  test(`going on from ${from} is ${exact ? '' : 'not '}exact`, () =>
    assert.equal(inexactness(newest, environment, now).length === 0, exact))

test('a resumed run has the progress of its checkpoint, a new one has none', () => {
  const schedule = { totalSteps: 40, stepsPerEpoch: 10, warmupSteps: 0, peak: 1, shape: 'Constant' } as const
  const history = [
    { step: 10, epoch: 1, loss: 2, grad_norm: 0.5, learning_rate: 1 },
    { step: 10, epoch: 1, eval_loss: 1.9, eval_human_loss: 1.9 },
    { step: 20, epoch: 2, loss: 1.8, grad_norm: 0.4, learning_rate: 1 },
    { step: 20, epoch: 2 },
  ]
  const state = { step: 20, standing, evaluatedStep: 20, history, tokensSeen: 1 }
  const progress = resumedProgress(state, schedule)
  assert.deepEqual(
    [progress?.step, progress?.totalSteps, progress?.epoch, progress?.trainLoss, progress?.evalLoss],
    [20, 40, 2, 1.8, 1.9],
  )
  assert.equal(resumedProgress({ ...state, step: 0, history: [] }, schedule), undefined)
})
