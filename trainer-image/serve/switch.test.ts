import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import {
  accept,
  converged,
  decide,
  fail,
  flip,
  initialSwitchState,
  type SwitchState,
  servingState,
  type Verdict,
} from './switch.ts'

const desired = (generation: number, digest: string): DesiredAdapter => ({
  generation,
  digest,
  sourcePath: '',
  warmSeconds: 0,
  format: undefined,
})
const loadedTime = new Date('2026-01-02T03:04:05.678Z')
const serving = (generation: number, digest: string): SwitchState =>
  flip(accept(initialSwitchState, desired(generation, digest)), { desired: desired(generation, digest), loadedTime })
const loading = (state: SwitchState, generation: number, digest: string): SwitchState =>
  accept(state, desired(generation, digest))

const cases: { a_pod: string; state: SwitchState; wanted: DesiredAdapter; want: Verdict['kind'] }[] = [
  {
    a_pod: 'that is new loads whatever generation it is given first',
    state: initialSwitchState,
    wanted: desired(7, 'a'),
    want: 'load',
  },
  {
    a_pod: 'that is new loads the base too, to prove it',
    state: initialSwitchState,
    wanted: desired(1, ''),
    want: 'load',
  },
  {
    a_pod: 'does nothing for the generation and digest it serves',
    state: serving(4, 'a'),
    wanted: desired(4, 'a'),
    want: 'nothing',
  },
  { a_pod: 'loads a higher generation', state: serving(4, 'a'), wanted: desired(5, 'b'), want: 'load' },
  {
    a_pod: 'only takes over the number when a higher generation wants what serves',
    state: serving(4, 'a'),
    wanted: desired(6, 'a'),
    want: 'adopt',
  },
  { a_pod: 'refuses a lower generation', state: serving(4, 'a'), wanted: desired(3, 'b'), want: 'refuse' },
  {
    a_pod: 'refuses a lower generation of the digest it serves',
    state: serving(4, 'a'),
    wanted: desired(3, 'a'),
    want: 'refuse',
  },
  {
    a_pod: 'refuses another digest under the same generation',
    state: serving(4, 'a'),
    wanted: desired(4, 'b'),
    want: 'refuse',
  },
  {
    a_pod: 'refuses what is older than the one being loaded',
    state: loading(serving(4, 'a'), 6, 'c'),
    wanted: desired(5, 'b'),
    want: 'refuse',
  },
  {
    a_pod: 'goes back to what serves while another is being loaded',
    state: loading(serving(4, 'a'), 5, 'b'),
    wanted: desired(6, 'a'),
    want: 'adopt',
  },
  {
    a_pod: 'tries again what failed',
    state: fail(loading(serving(4, 'a'), 5, 'b'), 'x'),
    wanted: desired(5, 'b'),
    want: 'load',
  },
  {
    a_pod: 'refuses what is older than what failed',
    state: fail(loading(serving(4, 'a'), 5, 'b'), 'x'),
    wanted: desired(4, 'a'),
    want: 'refuse',
  },
  { a_pod: 'refuses a generation of zero', state: initialSwitchState, wanted: desired(0, 'a'), want: 'refuse' },
]
for (const { a_pod, state, wanted, want } of cases) {
  test(`a pod ${a_pod}`, () => assert.equal(decide(state, wanted).kind, want))
}

test('a failed load keeps what serves and says which generation failed and why', () => {
  const state = fail(loading(serving(4, 'a'), 5, 'b'), 'bytes differ')
  assert.equal(converged(state), false)
  assert.deepEqual(servingState(state, 'pod-1', { active: 2, draining: 1 }, undefined, { answered: 9, lost: 3 }), {
    digest: 'a',
    generation: 4,
    loadedTime: '2026-01-02T03:04:05.678Z',
    podUid: 'pod-1',
    activeRequests: 2,
    drainingRequests: 1,
    failure: 'bytes differ',
    failedGeneration: 5,
    health: undefined,
    answeredRequests: 9,
    lostRequests: 3,
  })
})

test('a later success clears the failure', () => {
  const failed = fail(loading(serving(4, 'a'), 5, 'b'), 'bytes differ')
  const state = flip(accept(failed, desired(6, 'c')), { desired: desired(6, 'c'), loadedTime })
  assert.equal(converged(state), true)
  assert.equal(servingState(state, '', { active: 0, draining: 0 }, undefined, { answered: 0, lost: 0 }).failure, '')
})

test('what failed says so while it is tried again', () => {
  const failed = fail(loading(serving(4, 'a'), 5, 'b'), 'bytes differ')
  assert.equal(accept(failed, desired(5, 'b')).failure?.message, 'bytes differ')
  assert.equal(accept(failed, desired(6, 'b')).failure, undefined)
})
