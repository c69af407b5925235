import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DataCounts } from '#proto/humanizer/trainer/v1/preparation.ts'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import { digestOf } from '../run/world.ts'
import type { Decision } from './decide.ts'
import { statusAfter } from './status.ts'
import { base, prepared, start } from './world.ts'

const dataset = (spec: Partial<HumanizerDataset['spec']> = {}, status: HumanizerDataset['status'] = {}) => ({
  ...base,
  spec: { ...base.spec, ...spec },
  status,
})
const ready = (status: HumanizerDataset['status']): string =>
  status?.conditions?.find(({ type }) => type === 'Ready')?.message ?? ''

/** What stands in status once a preparation with these counts is done. */
function published(counts: Partial<DataCounts>, spec: Partial<HumanizerDataset['spec']> = {}) {
  const { ending } = prepared('hash') as Extract<ReturnType<typeof prepared>, { kind: 'ended' }>
  if (ending.kind !== 'completed') throw new Error(ending.kind)
  const result = { ...ending.result.preparation!, counts: DataCounts.fromPartial(counts) }
  return statusAfter(dataset(spec), { kind: 'publish', result }, start)
}

test('duplicates are told as a share of the texts that passed cleaning', () => {
  const dropped = { notHuman: 10, tooShort: 5, tooLong: 6, tooFewWords: 7, otherLanguage: 8, contaminated: 4 }
  const counts = { read: 100, ...dropped, exactDuplicates: 6, nearDuplicates: 9, crossSourceDuplicates: 3, train: 45 }
  assert.equal(published(counts).duplicatesPercent, '25.0')
  assert.equal(published({ read: 10, notHuman: 10 }).duplicatesPercent, '0.0')
})

test('whether runs wait for a person stands beside the place of the report', () => {
  const says = (review: HumanizerDataset['spec']['review']) =>
    ready(published({ train: 19, validation: 1 }, { review }))
  const digest = digestOf('d')
  const told = `19 rows to train on, 1 to validate on, ${digest}; report: datasets/d/report.html on claim humanizer`
  const waits = `${told}; runs wait until spec.review.approvedDigest is this digest`
  assert.equal(says({ required: false }), told)
  assert.equal(says({ required: true }), waits)
  assert.equal(says({ required: true, approvedDigest: digestOf('e') }), waits)
  assert.equal(says({ required: true, approvedDigest: digest }), told)
})

test('only what failed by itself counts, from the newest spec or retryToken on', () => {
  const ends = (counts: boolean, reason: string): Decision => ({
    ...{ kind: 'endAttempt', reason, message: 'words' },
    ...{ counts, final: false },
  })
  const attempts = [{ number: 1, specHash: 'hash', startTime: '2026-01-01T00:00:00Z' }]
  const before = { specHash: 'hash', attempts, failures: 1 }
  const failed = statusAfter(dataset({}, before), ends(true, 'Internal'), start)
  assert.deepEqual([failed.failures, failed.attempts?.[0]?.reason, ready(failed)], [2, 'Internal', 'Internal: words'])
  const disrupted = statusAfter(dataset({}, before), ends(false, 'Disrupted'), start)
  assert.deepEqual([disrupted.failures, ready(disrupted)], [1, 'words'])
  const opened = (spec: Partial<HumanizerDataset['spec']>, specHash: string) =>
    statusAfter(
      dataset(spec, failed),
      { kind: 'prepare', attempt: 2, specHash, claim: { name: 'humanizer', singleNode: false } },
      start,
    )
  assert.equal(opened({}, 'hash').failures, 2)
  assert.equal(opened({}, 'other').failures, 0)
  const { failures, retryToken } = opened({ retryToken: 'again' }, 'hash')
  assert.deepEqual([failures, retryToken], [0, 'again'])
})
