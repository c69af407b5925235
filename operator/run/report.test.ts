import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Checkpoint,
  EvaluationResult,
  GpuReadings,
  type Metric,
  type RunReport,
  type RunState,
} from '#proto/humanizer/trainer/v1/run.ts'
import type { Decision, Status } from './decide.ts'
import { statusAfter } from './status.ts'
import { digestOf, model, nobody, report, run, start } from './world.ts'

const training: Status = {
  startTime: '2025-12-31T23:00:00Z',
  model,
  failures: 0,
  attempt: 1,
  attempts: [{ number: 1, microBatchSize: 4, gradientAccumulation: 4, startTime: '2025-12-31T23:59:30Z' }],
}
const follow = (fields: Parameters<typeof report>[0]): Decision => ({
  kind: 'follow',
  report: report(fields),
  podUid: 'pod-uid',
  podName: 'pod',
})
const at = (seconds: number) => new Date(start.getTime() + seconds * 1000)
const ready = (status: Status) => status.conditions?.find(({ type }) => type === 'Ready')

test('progress is written every ten seconds at most; a checkpoint and a phase at once', () => {
  let given = run({}, training)
  const step = (seconds: number, fields: Parameters<typeof report>[0]) => {
    given = { ...given, status: statusAfter(given, follow(fields), at(seconds), nobody) }
    return given.status?.progress?.step
  }
  const progress = (step: number) => ({ progress: { ...report().progress!, step } })
  assert.equal(step(0, { ...progress(0), state: 'RUN_STATE_MEASURING_BASELINE' }), 0)
  assert.equal(step(1, progress(1)), 1)
  assert.equal(step(5, progress(5)), 1)
  assert.equal(step(11, progress(9)), 9)
  const checkpoint = {
    name: 'checkpoint-10',
    step: 10,
    digest: digestOf('a'),
    path: 'p',
    evaluation: undefined,
    best: false,
  }
  assert.equal(step(12, { ...progress(10), checkpoints: [checkpoint] }), 10)
  assert.deepEqual(
    [given.status?.progress?.percent, given.status?.progress?.remaining, given.status?.progress?.evalLoss],
    ['33%', '1m10s', undefined],
  )
})

test('the utilisation of the GPU is a whole percentage in status, and absent where the trainer tells none', () => {
  const percentOf = (utilizationPercent: number | undefined) => {
    const progress = { ...report().progress!, gpu: GpuReadings.fromPartial({ utilizationPercent }) }
    return statusAfter(run({}, training), follow({ progress }), start, nobody).progress?.gpuUtilization
  }
  assert.deepEqual([97.4, 0, undefined, Number.NaN].map(percentOf), ['97%', '0%', undefined, undefined])
  assert.equal(statusAfter(run({}, training), follow({}), start, nobody).progress?.gpuUtilization, undefined)
})

const metric = (name: string, value: number, low?: number, high?: number): Metric => ({ name, value, low, high })
const phases: { state: RunState; reason: string; says: RegExp }[] = [
  { state: 'RUN_STATE_PREPARING', reason: 'Preparing', says: /^attempt 1 reads, packs and loads in pod pod$/ },
  { state: 'RUN_STATE_MEASURING_BASELINE', reason: 'MeasuringBaseline', says: /measures the untouched base/ },
  { state: 'RUN_STATE_TRAINING', reason: 'Training', says: /^attempt 1 trains in pod pod$/ },
  { state: 'RUN_STATE_EVALUATING', reason: 'Evaluating', says: /has made all steps and evaluates/ },
  { state: 'RUN_STATE_STOPPING', reason: 'Stopping', says: /seals a checkpoint/ },
  { state: 'RUN_STATE_SUCCEEDED', reason: 'Training', says: /trains/ },
]
for (const { state, reason, says } of phases)
  test(`a trainer in ${state} gives the reason ${reason}, with or without progress, of this attempt or an earlier one`, () => {
    const { progress } = report()
    const earlier = { ...training, progress: statusAfter(run({}, training), follow({}), start, nobody).progress! }
    for (const [given, fields] of [
      [training, { progress: undefined }],
      [training, { progress }],
      [earlier, { progress: undefined }],
    ] as const) {
      const status = statusAfter(run({}, given), follow({ state, ...fields }), at(1), nobody)
      assert.equal(ready(status)?.reason, reason)
      assert.match(ready(status)?.message ?? '', says)
      assert.equal(status.progress?.phase, status.progress && state !== 'RUN_STATE_SUCCEEDED' ? reason : undefined)
    }
  })

test('a figure that is not finite is absent, and a condition names it until all are finite again', () => {
  const broken = { ...report().progress!, trainLoss: Number.NaN, tokensPerSecond: Number.POSITIVE_INFINITY }
  const evaluation = {
    step: 10,
    loss: 1,
    humanLoss: Number.NaN,
    labelTokens: 5,
    metrics: [],
  } as unknown as Checkpoint['evaluation']
  const checkpoints = [{ name: 'checkpoint-10', step: 10, digest: digestOf('a'), path: 'p', evaluation, best: true }]
  const given = run({}, training)
  const status = statusAfter(given, follow({ progress: broken, checkpoints }), start, nobody)
  assert.deepEqual([status.progress?.trainLoss, status.progress?.tokensPerSecond], [undefined, undefined])
  assert.equal(status.checkpoints?.[0]?.humanLoss, undefined)
  const finite = (status: Status) => status.conditions?.find(({ type }) => type === 'Finite')
  assert.deepEqual(
    [finite(status)?.status, finite(status)?.reason, finite(status)?.message, ready(status)?.reason],
    [
      'False',
      'NotFinite',
      'infinite or not a number, and therefore absent: progress.trainLoss, progress.tokensPerSecond, checkpoints[checkpoint-10].evaluation.humanLoss',
      'Training',
    ],
  )
  const healed = statusAfter({ ...given, status }, follow({}), at(1), nobody)
  assert.deepEqual([finite(healed), healed.conditions?.length], [undefined, 3])
})

test('a figure of a run that diverged fits the field, and is still a decimal', () => {
  const metrics = [metric('perplexity', Math.exp(45))]
  const evaluation = { step: 10, loss: 45, labelTokens: 5, metrics } as unknown as Checkpoint['evaluation']
  const checkpoints = [{ name: 'checkpoint-10', step: 10, digest: digestOf('a'), path: 'p', evaluation, best: true }]
  const status = statusAfter(run({}, training), follow({ checkpoints }), start, nobody)
  const [perplexity] = status.checkpoints?.[0]?.metrics ?? []
  assert.equal(perplexity?.value, '3.493427e+19')
  assert.equal(status.checkpoints?.[0]?.evalLoss, '45.000000')
})

test('a metric is in status with its interval; one that is not finite or that nobody here knows is not', () => {
  const metrics = [
    metric('improvement', 0.05, 0.04, 0.0601),
    metric('copyRate', 0.25),
    metric('rougeL', Number.NaN),
    metric('charm', 1),
  ]
  const evaluation = EvaluationResult.fromPartial({ step: 10, loss: 1, metrics })
  const checkpoints = [{ name: 'checkpoint-10', step: 10, digest: digestOf('a'), path: 'p', evaluation, best: true }]
  const status = statusAfter(run({}, training), follow({ checkpoints, baseline: evaluation }), start, nobody)
  const expected = [
    { name: 'improvement', value: '0.050000', low: '0.040000', high: '0.060100' },
    { name: 'copyRate', value: '0.250000' },
  ]
  assert.deepEqual([status.checkpoints?.[0]?.metrics, status.baseline?.metrics], [expected, expected])
})

test('a short result without metrics leaves what was heard of the same adapter before', () => {
  const checkpoints = (metrics: Metric[], letter = 'a') => [
    {
      name: 'checkpoint-10',
      step: 10,
      digest: digestOf(letter),
      path: 'p',
      evaluation: EvaluationResult.fromPartial({ step: 10, loss: 1, metrics }),
      best: true,
    },
  ]
  const heard = statusAfter(
    run({}, training),
    follow({ checkpoints: checkpoints([metric('rougeL', 0.5)]) }),
    start,
    nobody,
  )
  const end = (letter: string): Decision => ({
    kind: 'succeed',
    report: report({ state: 'RUN_STATE_SUCCEEDED', checkpoints: checkpoints([], letter) }),
  })
  const rougeL = (letter: string) =>
    statusAfter(run({}, heard), end(letter), at(1), nobody).checkpoints?.[0]?.metrics?.[0]?.value
  assert.deepEqual([rougeL('a'), rougeL('b')], ['0.500000', undefined])
})

for (const [verdict, healthy] of [
  ['Healthy', 'True'],
  ['Overfitting', 'False'],
  ['Underfitting', 'False'],
  ['CopyCollapse', 'False'],
  ['Unknown', 'Unknown'],
] as const)
  test(`the verdict ${verdict} is the reason of a condition that is ${healthy}, and does not touch Ready`, () => {
    const diagnosis = { verdict, findings: [{ verdict, evidence: 'because 2 > 1' }], advice: ['do less'] }
    const end: Decision = { kind: 'succeed', report: report({ state: 'RUN_STATE_SUCCEEDED', diagnosis }) }
    const status = statusAfter(run({}, training), end, start, nobody)
    const condition = status.conditions?.find(({ type }) => type === 'Healthy')
    assert.deepEqual(
      [condition?.status, condition?.reason, condition?.message],
      [healthy, verdict, 'because 2 > 1; do less'],
    )
    assert.deepEqual(status.diagnosis, diagnosis)
    assert.equal(ready(status)?.status, 'True')
  })

test('a checkpoint of a short result lies where its step says', () => {
  const short = { name: '', step: 40, digest: digestOf('a'), path: '', evaluation: undefined, best: false }
  const { checkpoints } = statusAfter(run({}, training), follow({ checkpoints: [short] }), start, nobody)
  assert.deepEqual(checkpoints, [
    {
      name: 'checkpoint-40',
      step: 40,
      digest: digestOf('a'),
      path: 'runs/team/prose/run-uid/checkpoint-40',
      best: false,
    },
  ])
})

test('a run that may keep twenty checkpoints has them all in its status, the best and the newest beside them', () => {
  const checkpoints = Array.from({ length: 22 }, (_, i) => ({
    name: '',
    step: i + 1,
    digest: digestOf('a'),
    path: '',
    evaluation: undefined,
    best: i === 0,
  }))
  const status = statusAfter(run({}, training), { kind: 'succeed', report: report({ checkpoints }) }, start, nobody)
  assert.equal(status.checkpoints?.length, 22)
  assert.equal(status.checkpoints?.[0]?.best, true)
})

test('how it goes with a tracking server is a condition of its own, which touches no other', () => {
  const url = 'https://wandb.ai/team/prose/runs/u'
  const given = run({}, training)
  const tracked = (status: Status) => status.conditions?.find(({ type }) => type === 'Tracked')
  const told = (tracking: RunReport['tracking']) => statusAfter(given, follow({ tracking }), start, nobody)
  assert.equal(tracked(told(undefined)), undefined)
  const well = told({ url, problem: '' })
  assert.deepEqual([tracked(well)?.status, tracked(well)?.reason, tracked(well)?.message], ['True', 'Tracked', url])
  const ill = told({ url, problem: 'api.wandb.ai: no answer in 20 s' })
  assert.deepEqual(
    [tracked(ill)?.status, tracked(ill)?.reason, tracked(ill)?.message, ready(ill)?.reason],
    ['False', 'TrackingFailed', `${url}: api.wandb.ai: no answer in 20 s`, 'Training'],
  )
})
