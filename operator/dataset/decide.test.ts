import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import { digestOf } from '../run/world.ts'
import { type Decision, decide, type Observed, type Status } from './decide.ts'
import { specHash } from './prepare-config.ts'
import { absent, base, failed, observed, prepared, start } from './world.ts'

const hash = specHash(base.spec)
const use = { name: 'humanizer', singleNode: false }

const dataset = (status: Status, spec: Partial<HumanizerDataset['spec']> = {}): HumanizerDataset => ({
  ...base,
  spec: { ...base.spec, ...spec },
  status,
})
const attempt = (number: number, reason?: string, specHash = hash) => ({
  number,
  specHash,
  startTime: '2025-12-31T23:59:00Z',
  ...(reason && { reason, finishTime: '2026-01-01T00:00:00Z' }),
})
const pods = { jobs: [{ name: 'prose-prepare-1', uid: 'u' }], pods: ['pod'] }
const say = (decision: Decision): string =>
  [
    decision.kind,
    'reason' in decision && decision.reason,
    'final' in decision && decision.final && 'for good',
    'quietly' in decision && decision.quietly && 'quietly',
    'attempt' in decision && decision.attempt,
  ]
    .filter((word) => word)
    .join(' ')

const open = dataset({ specHash: hash, attempts: [attempt(1)] })
const cases: { a_dataset: string; given: HumanizerDataset; sees?: Observed; does: string }[] = [
  {
    a_dataset: 'whose claim is not there',
    given: base,
    sees: observed(absent, { claim: undefined }),
    does: 'makeClaim',
  },
  {
    a_dataset: "on a user's claim that is not there",
    given: { ...base, spec: { ...base.spec, storage: { claimName: 'mine', reclaimPolicy: 'Retain' } } },
    sees: observed(absent, { claim: undefined }),
    does: 'wait ClaimNotFound',
  },
  {
    a_dataset: 'on a claim for one pod',
    given: base,
    sees: observed(absent, { claim: { name: 'humanizer', accessModes: ['ReadWriteOncePod'] } }),
    does: 'stall StorageNotShared',
  },
  { a_dataset: 'that is new', given: base, does: 'prepare 1' },
  {
    a_dataset: 'that is being deleted',
    given: { ...base, metadata: { ...base.metadata, deletionTimestamp: 'x' } },
    does: 'rest',
  },
  { a_dataset: 'whose Job was not made before the crash', given: open, does: 'prepare 1' },
  {
    a_dataset: 'whose ConfigMap is not there',
    given: base,
    sees: observed(absent, { missing: 'words' }),
    does: 'wait ConfigMapMissing',
  },
  {
    a_dataset: 'whose ConfigMap went before its Job was made',
    given: open,
    sees: observed(absent, { missing: 'words' }),
    does: 'wait ConfigMapMissing',
  },
  {
    a_dataset: 'whose ConfigMap went before it was mounted',
    given: open,
    sees: observed({ kind: 'pending', reason: 'SecretMissing', message: '' }, { missing: 'words' }),
    does: 'wait ConfigMapMissing',
  },
  {
    a_dataset: 'that waits for a node, whatever its ConfigMap',
    given: open,
    sees: observed({ kind: 'pending', reason: 'Scheduling', message: '' }, { missing: 'words' }),
    does: 'wait Scheduling',
  },
  {
    a_dataset: 'whose ConfigMap went after it was read',
    given: open,
    sees: observed(prepared(hash), { missing: 'words' }),
    does: 'publish',
  },
  {
    a_dataset: 'whose pod runs',
    given: open,
    sees: observed({ kind: 'running', pod: { name: 'p', uid: 'u', ready: true, since: start } }),
    does: 'follow',
  },
  {
    a_dataset: 'whose Job was deleted by hand',
    given: open,
    sees: observed({ kind: 'leaving' }),
    does: 'wait Stopping',
  },
  { a_dataset: 'that is prepared', given: open, sees: observed(prepared(hash)), does: 'publish' },
  {
    a_dataset: 'that tells the result of another spec',
    given: open,
    sees: observed(prepared('sha256:other')),
    does: 'endAttempt ResultMissing',
  },
  {
    a_dataset: 'whose column is not there',
    given: open,
    sees: observed(failed('SourceInvalid')),
    does: 'endAttempt SourceInvalid for good',
  },
  {
    a_dataset: 'in which nothing survives',
    given: open,
    sees: observed(failed('NothingFits')),
    does: 'endAttempt NothingFits for good',
  },
  {
    a_dataset: 'whose source is not there',
    given: open,
    sees: observed(failed('NotFound')),
    does: 'endAttempt NotFound',
  },
  { a_dataset: 'that crashed', given: open, sees: observed(failed('Internal')), does: 'endAttempt Internal' },
  {
    a_dataset: 'that crashed too often',
    given: dataset({ specHash: hash, failures: 3, attempts: [attempt(4)] }),
    sees: observed(failed('Internal')),
    does: 'endAttempt Internal for good',
  },
  {
    a_dataset: 'whose pod was deleted',
    given: open,
    sees: observed({ kind: 'ended', ending: { kind: 'disrupted', message: '' } }),
    does: 'endAttempt Disrupted',
  },
  {
    a_dataset: 'that failed for good',
    given: dataset({ specHash: hash, attempts: [attempt(1, 'SourceInvalid')] }),
    does: 'rest',
  },
  {
    a_dataset: 'that failed for good and has a new retryToken',
    given: dataset({ specHash: hash, attempts: [attempt(1, 'SourceInvalid')] }, { retryToken: 'again' }),
    does: 'prepare 2',
  },
  {
    a_dataset: 'that failed for good and has a new spec',
    given: dataset({ specHash: 'sha256:old', attempts: [attempt(1, 'SourceInvalid', 'sha256:old')] }),
    does: 'prepare 2',
  },
  {
    a_dataset: 'whose new spec failed for good, was taken back and comes again',
    given: dataset({
      specHash: 'sha256:prepared',
      preparedSpecHash: 'sha256:prepared',
      digest: digestOf('d'),
      attempts: [attempt(1, 'Completed', 'sha256:prepared'), attempt(2, 'SourceInvalid')],
    }),
    does: 'prepare 3',
  },
  {
    a_dataset: 'that failed twice and waits',
    given: dataset({ specHash: hash, failures: 2, attempts: [attempt(1, 'Internal'), attempt(2, 'Internal')] }),
    does: 'hold',
  },
  {
    a_dataset: 'whose failed pod is still there',
    given: dataset({ specHash: hash, failures: 1, attempts: [attempt(1, 'Internal')] }),
    sees: observed(absent, { remains: pods }),
    does: 'clear quietly',
  },
  {
    a_dataset: 'whose superseded pod is still there',
    given: dataset({ specHash: hash, attempts: [attempt(1, 'Superseded')] }),
    sees: observed(absent, { remains: pods }),
    does: 'clear',
  },
  {
    a_dataset: 'whose failed pod is still there, with a new retryToken',
    given: dataset({ specHash: hash, attempts: [attempt(1, 'SourceInvalid')] }, { retryToken: 'again' }),
    sees: observed(absent, { remains: pods }),
    does: 'clear',
  },
  {
    a_dataset: 'whose spec changed while it was prepared',
    given: dataset({ specHash: 'sha256:old', attempts: [attempt(1, undefined, 'sha256:old')] }),
    does: 'endAttempt Superseded',
  },
  {
    a_dataset: 'whose spec went back to what is prepared',
    given: dataset({
      preparedSpecHash: hash,
      digest: digestOf('d'),
      attempts: [attempt(1, 'Completed'), attempt(2, undefined, 'sha256:old')],
    }),
    does: 'endAttempt Superseded',
  },
  {
    a_dataset: 'that went back and has a pod left',
    given: dataset({
      preparedSpecHash: hash,
      digest: digestOf('d'),
      attempts: [attempt(2, 'Superseded', 'sha256:old')],
    }),
    sees: observed(absent, { remains: pods }),
    does: 'clear',
  },
  {
    a_dataset: 'that is prepared and lost its Job, its pod and its claim',
    given: dataset({ preparedSpecHash: hash, digest: digestOf('d'), attempts: [attempt(1, 'Completed')] }),
    sees: observed(absent, { claim: undefined }),
    does: 'wait ArtifactMissing',
  },
  {
    a_dataset: 'that is prepared, lost its claim and is changed',
    given: dataset({
      digest: digestOf('d'),
      specHash: 'sha256:old',
      attempts: [attempt(1, 'Completed', 'sha256:old')],
    }),
    sees: observed(absent, { claim: undefined }),
    does: 'wait ArtifactMissing',
  },
  {
    a_dataset: 'that failed, waits and lost its empty claim',
    given: dataset({ specHash: hash, failures: 2, attempts: [attempt(1, 'Internal'), attempt(2, 'Internal')] }),
    sees: observed(absent, { claim: undefined }),
    does: 'hold',
  },
  {
    a_dataset: 'that never was prepared and lost its empty claim',
    given: dataset({ specHash: hash, attempts: [attempt(1)] }),
    sees: observed(absent, { claim: undefined }),
    does: 'makeClaim',
  },
]
for (const { a_dataset, given, sees = observed(absent), does } of cases)
  test(`a dataset ${a_dataset}: ${does}`, () => {
    assert.equal(say(decide(given, sees, start)), does)
  })

test('pods, storage and tokens do not shape the data; everything else does', () => {
  const source = { name: 'raid', huggingFace: { repo: 'liamdugan/raid', revision: 'main' } }
  const spec = { ...base.spec, sources: [source] }
  const token = { ...source, huggingFace: { ...source.huggingFace, tokenSecretRef: { name: 'hub', key: 'token' } } }
  assert.equal(
    specHash({ ...spec, sources: [token], pod: { priorityClassName: 'low' }, retryToken: 'x' }),
    specHash(spec),
  )
  assert.notEqual(specHash({ ...spec, split: { trainPercent: 95, seed: 7 } }), specHash(spec))
  assert.notEqual(specHash({ ...spec, sources: [{ ...source, limit: 5 }] }), specHash(spec))
})

test('a preparation says how it takes its claim', () => {
  assert.deepEqual(decide(base, observed(absent), start), { kind: 'prepare', attempt: 1, specHash: hash, claim: use })
})
