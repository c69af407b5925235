import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { type Decision, decide, type Observed, type Status } from './decide.ts'
import {
  completed,
  dataset,
  digestOf,
  disrupted,
  failed,
  finished,
  model,
  report,
  run,
  running,
  start,
} from './world.ts'

const seen = (fields: Partial<Observed> = {}): Observed => ({
  dataset: dataset(),
  releases: [],
  claim: { name: 'humanizer', accessModes: ['ReadWriteMany'] },
  fetch: { kind: 'absent' },
  attempt: { kind: 'absent' },
  trainer: undefined,
  remains: { jobs: [], pods: [] },
  ...fields,
})
const started: Status = { startTime: '2025-12-31T23:00:00Z', datasetDigest: digestOf('d'), failures: 0 }
const fetched = (fields: Partial<NonNullable<Status['fetch']>>): Status => ({
  ...started,
  fetch: { number: 1, startTime: '2025-12-31T23:00:00Z', ...fields },
})
const fetching = fetched({})
const pinned: Status = { ...started, model }
const attempt = (number: number, reason?: string, micro = 4) => ({
  number,
  microBatchSize: micro,
  gradientAccumulation: 16 / micro,
  startTime: '2025-12-31T23:59:30Z',
  ...(reason && { reason, finishTime: '2026-01-01T00:00:00Z' }),
})
const training: Status = { ...pinned, attempt: 1, attempts: [attempt(1)] }
const remains = { jobs: [{ name: 'prose-train-1', uid: 'u' }], pods: ['pod'] }
const ended = (succeeded: 'True' | 'False'): Status => ({
  ...training,
  completionTime: '2026-01-01T00:00:00Z',
  conditions: [
    { type: 'Succeeded', status: succeeded, reason: 'x', message: '', observedGeneration: 1, lastTransitionTime: '' },
  ],
})
const say = (decision: Decision): string =>
  [
    decision.kind,
    'reason' in decision && decision.reason,
    'counts' in decision && decision.counts && 'counts',
    'quietly' in decision && decision.quietly && 'quietly',
    typeof ('attempt' in decision && decision.attempt) === 'number' && (decision as { attempt: number }).attempt,
  ]
    .filter((word) => word)
    .join(' ')
const reviewed = (review: HumanizerDataset['spec']['review']): HumanizerDataset => {
  const ready = dataset()
  return { ...ready, spec: { ...ready.spec, review } }
}
const ago = (seconds: number): Date => new Date(start.getTime() - seconds * 1000)

const cases: { a_run: string; given: QLoRARun; sees?: Partial<Observed>; does: string }[] = [
  {
    a_run: 'whose dataset waits for a review',
    given: run(),
    sees: { dataset: reviewed({ required: true }) },
    does: 'wait DatasetNotApproved',
  },
  {
    a_run: 'whose dataset was approved under another digest',
    given: run(),
    sees: { dataset: reviewed({ required: true, approvedDigest: digestOf('e') }) },
    does: 'wait DatasetNotApproved',
  },
  {
    a_run: 'whose dataset was approved',
    given: run(),
    sees: { dataset: reviewed({ required: true, approvedDigest: digestOf('d') }) },
    does: 'begin',
  },
  { a_run: 'whose dataset is not there', given: run(), sees: { dataset: undefined }, does: 'wait DatasetNotFound' },
  {
    a_run: 'whose dataset is not ready',
    given: run(),
    sees: { dataset: dataset(false) },
    does: 'wait DatasetNotReady',
  },
  {
    a_run: 'whose dataset was changed and not looked at since',
    given: run(),
    sees: { dataset: { ...dataset(), metadata: { name: 'prose', generation: 2 } } },
    does: 'wait DatasetNotReady',
  },
  {
    a_run: 'on another claim than its dataset',
    given: run({ storage: { claimName: 'other', reclaimPolicy: 'Retain' } }),
    does: 'stall StorageMismatch',
  },
  { a_run: 'whose dataset is ready', given: run(), does: 'begin' },
  {
    a_run: 'whose claim went, and with it its dataset',
    given: run({}, started),
    sees: { claim: undefined },
    does: 'wait ArtifactMissing',
  },
  {
    a_run: 'whose claim went, and with it its checkpoints',
    given: run({}, { ...training, attempts: [attempt(1, 'Disrupted')] }),
    sees: { claim: undefined },
    does: 'wait ArtifactMissing',
  },
  {
    a_run: "whose user's claim went",
    given: run({ storage: { claimName: 'mine', reclaimPolicy: 'Retain' } }, started),
    sees: { claim: undefined },
    does: 'wait ArtifactMissing',
  },
  { a_run: 'that has begun', given: run({}, started), does: 'fetch 1' },
  {
    a_run: 'whose dataset vanishes after it has begun',
    given: run({}, started),
    sees: { dataset: undefined },
    does: 'fetch 1',
  },
  { a_run: 'whose fetching pod runs', given: run({}, fetching), sees: { fetch: running }, does: 'wait Fetching' },
  {
    a_run: 'whose base model is there',
    given: run({}, fetching),
    sees: { fetch: completed({ fetch: { model, bytes: 1 } }) },
    does: 'pinModel',
  },
  {
    a_run: 'whose fetching completed without a model',
    given: run({}, fetching),
    sees: { fetch: completed({}) },
    does: 'endFetch ResultMissing counts',
  },
  {
    a_run: 'whose base model is truncated',
    given: run({}, fetching),
    sees: { fetch: failed('SourceInvalid') },
    does: 'fail SourceInvalid',
  },
  {
    a_run: 'whose Hub is away',
    given: run({}, fetching),
    sees: { fetch: failed('Unavailable') },
    does: 'endFetch Unavailable',
  },
  {
    a_run: 'whose Hub was away for long and whose fetching then crashes',
    given: run({}, fetched({ number: 40, fruitless: 40 })),
    sees: { fetch: failed('Internal') },
    does: 'endFetch Internal counts',
  },
  {
    a_run: 'whose fetching crashes too often',
    given: run({}, fetched({ number: 4, failures: 3 })),
    sees: { fetch: failed('Internal') },
    does: 'fail RetriesExhausted',
  },
  {
    a_run: 'whose fetching was disrupted three times in a row',
    given: run({}, fetched({ number: 3, fruitless: 3, finishTime: '2026-01-01T00:00:00Z' })),
    does: 'hold',
  },
  {
    a_run: 'whose fetching pod was deleted',
    given: run({}, fetching),
    sees: { fetch: disrupted },
    does: 'endFetch Disrupted',
  },
  { a_run: 'with a base model', given: run({}, pinned), does: 'train 1' },
  { a_run: 'whose Job was not made before the crash', given: run({}, training), does: 'train 1' },
  {
    a_run: 'whose Job was deleted and whose pod still runs',
    given: run({}, training),
    sees: { attempt: { kind: 'leaving' } },
    does: 'wait Stopping',
  },
  {
    a_run: 'that trains',
    given: run({}, training),
    sees: { attempt: running, trainer: { report: report(), unchangedSince: start } },
    does: 'follow',
  },
  {
    a_run: 'whose trainer is silent and was never heard',
    given: run({}, training),
    sees: { attempt: running, trainer: {} },
    does: 'follow',
  },
  {
    a_run: 'whose trainer hangs',
    given: run({}, training),
    sees: { attempt: running, trainer: { report: report(), unchangedSince: ago(601) } },
    does: 'endAttempt ProgressDeadlineExceeded counts',
  },
  {
    a_run: 'whose trainer hangs once too often',
    given: run({ maxRetries: 0 }, training),
    sees: { attempt: running, trainer: { unchangedSince: ago(601) } },
    does: 'fail RetriesExhausted',
  },
  {
    a_run: 'whose hanging trainer completed at last',
    given: run({}, { ...training, attempts: [attempt(1, 'ProgressDeadlineExceeded')] }),
    sees: { attempt: finished },
    does: 'succeed',
  },
  {
    a_run: 'that completed while it was being suspended',
    given: run({ suspend: true }, training),
    sees: { attempt: finished },
    does: 'succeed',
  },
  {
    a_run: 'whose dataset folder is not there',
    given: run({}, training),
    sees: { attempt: failed('NotFound') },
    does: 'endAttempt NotFound',
  },
  {
    a_run: 'that is locked out of its folder',
    given: run({}, training),
    sees: { attempt: failed('Locked') },
    does: 'endAttempt Locked',
  },
  {
    a_run: 'that ran out of memory',
    given: run({}, training),
    sees: { attempt: failed('DeviceOutOfMemory') },
    does: 'endAttempt DeviceOutOfMemory counts',
  },
  {
    a_run: 'that ran out of memory with the smaller plan',
    given: run({}, { ...training, attempts: [attempt(2, undefined, 2)] }),
    sees: { attempt: failed('DeviceOutOfMemory') },
    does: 'fail DeviceOutOfMemory',
  },
  {
    a_run: 'that ran out of memory with one sequence',
    given: run({}, { ...training, attempts: [attempt(1, undefined, 1)] }),
    sees: { attempt: failed('ContainerOutOfMemory') },
    does: 'fail ContainerOutOfMemory',
  },
  {
    a_run: 'whose earlier pod is still there',
    given: run({}, { ...training, attempts: [attempt(1, 'Disrupted')] }),
    sees: { remains },
    does: 'clear quietly',
  },
  {
    a_run: 'that is resumed while its pod is still there',
    given: run({}, { ...training, attempts: [attempt(1, 'Suspended')] }),
    sees: { remains },
    does: 'clear',
  },
  {
    a_run: 'that was disrupted once',
    given: run({}, { ...training, attempts: [attempt(1, 'Disrupted')] }),
    does: 'train 2',
  },
  {
    a_run: 'that was disrupted three times in a row',
    given: run({}, { ...training, attempts: [1, 2, 3].map((n) => attempt(n, 'Disrupted')) }),
    does: 'hold',
  },
  {
    a_run: 'that is to be suspended',
    given: run({ suspend: true }, training),
    sees: { attempt: running, remains },
    does: 'suspend',
  },
  {
    a_run: 'that is suspended',
    given: run({ suspend: true }, { ...training, attempts: [attempt(1, 'Suspended')] }),
    does: 'wait Suspended',
  },
  { a_run: 'that is suspended before it begins', given: run({ suspend: true }), does: 'wait Suspended' },
  {
    a_run: 'that has succeeded, with a new retryToken and nothing left',
    given: run({ retryToken: 'x' }, ended('True')),
    sees: { dataset: undefined, claim: undefined },
    does: 'rest',
  },
  { a_run: 'that has succeeded and is to be suspended', given: run({ suspend: true }, ended('True')), does: 'rest' },
  { a_run: 'that has failed', given: run({}, ended('False')), does: 'rest' },
  {
    a_run: 'that has failed and whose hung pod still runs',
    given: run({}, ended('False')),
    sees: { remains },
    does: 'clear quietly',
  },
  { a_run: 'that has failed, with a new retryToken', given: run({ retryToken: 'x' }, ended('False')), does: 'restart' },
]
for (const { a_run, given, sees, does } of cases)
  test(`a run ${a_run}: ${does}`, () => {
    assert.equal(say(decide(given, seen(sees), start)), does)
  })

test('an odd micro-batch goes to one, so that the effective batch stays the same', () => {
  const given = run(
    { training: { ...run().spec.training, microBatchSize: 5, gradientAccumulation: 3 } },
    {
      ...training,
      failures: 1,
      attempts: [{ ...attempt(1, 'ContainerOutOfMemory'), microBatchSize: 5, gradientAccumulation: 3 }],
    },
  )
  const decision = decide(given, seen(), start)
  assert.deepEqual(decision.kind === 'train' && decision.plan, { microBatchSize: 1, gradientAccumulation: 15 })
})
