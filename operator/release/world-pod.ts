/** For tests: a serving pod of a small world. */
import { type DesiredAdapter, ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import { ownWords, parseState } from './heard.ts'
import { start } from './objects.ts'
import type { ServingPod } from './observed.ts'

export interface WorldPod {
  uid: string
  deployment: string
  state: ServingState
  terminating: boolean
  /** Requests answered since it began. */
  answered: number
}

/** What its world does to a pod. */
interface Around {
  /** Digests that it cannot load, and why. */
  readonly broken: ReadonlySet<string>
  readonly failure: string
  /** It finds no node when it is new; the scheduler's words. */
  readonly full: boolean
  readonly schedulerSays: string
  readonly now: Date
}

export const newPod = (deployment: string, index: number): WorldPod => ({
  uid: `${deployment}-${index}`,
  deployment,
  state: ServingState.fromPartial({}),
  terminating: false,
  answered: 0,
})

/** The pod's own rules (trainer-image/serve/switch.ts). `mergedDigest`: the adapter in its weights, or nothing. */
export function load(pod: WorldPod, desired: DesiredAdapter, mergedDigest: string, { full, broken, failure }: Around) {
  const { state } = pod
  const homeless = full && state.generation === 0
  if (homeless || Number(desired.generation) < Math.max(state.generation, state.failedGeneration)) return
  const digest = desired.digest ?? ''
  const generation = Number(desired.generation)
  const { digest: splitDigest = '', percent: splitPercent = 0 } = desired.split ?? {}
  const loadedTime = start.toISOString()
  pod.state =
    broken.has(digest) || broken.has(splitDigest) || (mergedDigest !== '' && mergedDigest !== digest)
      ? { ...state, failure, failedGeneration: generation }
      : ServingState.fromPartial({ digest, generation, loadedTime, podUid: pod.uid, splitDigest, splitPercent })
}

/** The pod as Kubernetes tells of it, and what it said, if it did, as it comes over the wire. */
export function seenPod(
  { uid, deployment, state, terminating }: WorldPod,
  said: ServingState | undefined,
  { full, schedulerSays, now }: Around,
): ServingPod {
  const isNew = state.generation === 0
  const heard = said ? parseState(JSON.stringify(ServingState.toJSON(said))) : {}
  const own = ownWords(heard, uid, start.toISOString(), now)
  return {
    name: uid,
    uid,
    deployment,
    ip: isNew && full ? undefined : '10.0.0.1',
    ready: !isNew,
    terminating,
    restarts: 0,
    trouble: isNew && full ? { kind: 'unschedulable', message: schedulerSays } : undefined,
    state: own.state,
    doubt: own.doubt,
  }
}
