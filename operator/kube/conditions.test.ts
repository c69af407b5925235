import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Condition, findCondition, readyFrom, type Summary, setCondition } from './conditions.ts'

const early = new Date('2026-01-01T00:00:00.123Z')
const late = new Date('2026-01-01T00:01:00.456Z')

const says = (status: Condition['status'], reason: string, observedGeneration = 1) => ({
  ...{ type: 'Succeeded', status, reason, message: `because ${reason}`, observedGeneration },
})

test('the transition time moves when the status flips, and only then', () => {
  const first = setCondition(undefined, says('Unknown', 'Training'), early)
  assert.equal(first[0]?.lastTransitionTime, '2026-01-01T00:00:00Z')
  const sameStatus = setCondition(first, says('Unknown', 'Evaluating', 2), late)
  assert.deepEqual(sameStatus, [{ ...says('Unknown', 'Evaluating', 2), lastTransitionTime: '2026-01-01T00:00:00Z' }])
  const flipped = setCondition(sameStatus, says('True', 'Finished', 2), late)
  assert.equal(flipped[0]?.lastTransitionTime, '2026-01-01T00:01:00Z')
})

test('a message is cut to what the CRDs take', () => {
  const [ready, stalled] = readyFrom(
    undefined,
    { state: 'stalled', reason: 'Long', message: 'm'.repeat(5000) },
    1,
    late,
  )
  assert.deepEqual([ready?.message.length, stalled?.message.length], [4096, 4096])
})

test('conditions of others and their order are kept', () => {
  const others: Condition[] = ['A', 'Ready', 'B'].map((type) => ({
    ...{ type, status: 'True', reason: 'Set', message: '', observedGeneration: 1, lastTransitionTime: '' },
  }))
  const next = readyFrom(others, { state: 'stalled', reason: 'NoColumn', message: 'm' }, 2, late)
  assert.deepEqual(
    next.map(({ type }) => type),
    ['A', 'Ready', 'B', 'Stalled'],
  )
})

const summaries: readonly { readonly a_summary: string; readonly given: Summary['state']; readonly want: object }[] = [
  { a_summary: 'that is ready stands alone', given: 'ready', want: { Ready: 'True' } },
  { a_summary: 'on its way is reconciling', given: 'reconciling', want: { Ready: 'False', Reconciling: 'True' } },
  {
    a_summary: 'that only a person can change is stalled',
    given: 'stalled',
    want: { Ready: 'False', Stalled: 'True' },
  },
]
for (const { a_summary, given, want } of summaries)
  for (const before of summaries)
    test(`a summary ${a_summary}, coming from ${before.given}`, () => {
      const reason = { reason: 'Reason', message: 'message' }
      const earlier = readyFrom(undefined, { state: before.given, ...reason }, 1, early)
      const conditions = readyFrom(earlier, { state: given, ...reason }, 2, late)
      assert.deepEqual(Object.fromEntries(conditions.map(({ type, status }) => [type, status])), want)
      assert.ok(conditions.every(({ observedGeneration }) => observedGeneration === 2))
      const flipped = (before.given === 'ready') !== (given === 'ready')
      const moved = findCondition(conditions, 'Ready')?.lastTransitionTime === '2026-01-01T00:01:00Z'
      assert.equal(moved, flipped)
    })
