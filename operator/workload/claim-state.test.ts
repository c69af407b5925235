import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AttemptState } from './attempt-state.ts'
import { withClaim } from './claim-state.ts'

const waits: AttemptState = { kind: 'pending', reason: 'Scheduling', message: '0/1 nodes are available: no volume' }
const claim = { name: 'humanizer', accessModes: ['ReadWriteMany'], phase: 'Pending' }

test('a pod that waits for a node says so of a claim without a volume, with its access mode and where to look', () => {
  const state = withClaim(waits, claim)
  assert.equal(
    state.kind === 'pending' && state.message,
    '0/1 nodes are available: no volume; PersistentVolumeClaim humanizer (ReadWriteMany) has no volume yet; its events say why ' +
      '(kubectl describe pvc humanizer), the values storage.* of the chart how the operator made it',
  )
  const theirs = withClaim(waits, { ...claim, name: 'shelf' })
  assert.doesNotMatch(theirs.kind === 'pending' ? theirs.message : '', /chart/)
})

test('nothing is said of a claim that is bound, gone, or not what is waited for', () => {
  const pulling: AttemptState = { ...waits, reason: 'ImageUnavailable' }
  for (const [state, found] of [
    [waits, { ...claim, phase: 'Bound' }],
    [waits, undefined],
    [pulling, claim],
  ] as const)
    assert.equal(withClaim(state, found), state)
})
