import { ReleaseReason } from '../api/release-reasons.ts'
import { kubeTime } from '../kube/conditions.ts'
import {
  type Adapter,
  baseDigest,
  desiredOf,
  nameOf,
  type Release,
  type Status,
  sameAdapter,
  served,
} from './adapter.ts'
import type { ServingPod } from './observed.ts'
import { failureReason } from './obstacle.ts'
import { isRejected } from './review.ts'

/*
 *   told to pods ── every pod has it ── spec.rollback.windowSeconds ──▶ trusted
 *        └─ restarts ─▶ refused   └─ restarts, cannot load, errors, slow ──▶ rolled back
 *
 * The base, and what served before, are trusted at once, unless it was rolled back: a person goes back to it because of what serves.
 */

export type Watch = NonNullable<Status['watch']>

/** Why what pods were given must go. */
export interface Regression {
  readonly reason: ReleaseReason
  readonly message: string
}

/** How often pods are asked while something is watched. */
export const watchSeconds = 5

/** The watch that begins with a switch to `adapter`; undefined when it is trusted. */
export function watchOf(status: Status, adapter: Adapter, pods: readonly ServingPod[], now: Date): Watch | undefined {
  if (adapter.digest === baseDigest) return undefined
  const before = served(status).find((each) => sameAdapter(each, adapter))
  if (before && !before.regressed) return undefined
  const restarts = pods.filter((pod) => !pod.terminating && pod.restarts > 0)
  return {
    digest: adapter.digest,
    sinceTime: kubeTime(now),
    ...(restarts.length > 0 && { restarts: restarts.slice(0, 64).map(({ uid, restarts: count }) => ({ uid, count })) }),
  }
}

/** Seconds until what serves is trusted; undefined when nothing is watched, or it does not serve everywhere yet. */
export function watchLeft({ spec, status }: Release, now: Date): number | undefined {
  const { watch, active, verdict } = status ?? {}
  if (!watch || watch.digest !== active?.digest || verdict?.state === 'Switching') return undefined
  return spec.rollback.windowSeconds - (now.getTime() - Date.parse(watch.sinceTime)) / 1000
}

/**
 * What a person, or the pods, say against the adapter that these were given; undefined when there is nothing. Pods are heard only
 * while it is watched.
 */
export function regression(release: Release, pods: readonly ServingPod[]): Regression | undefined {
  const { status = {} } = release
  const desired = desiredOf(status)
  if (!desired || !status.active) return undefined
  const theirs = pods.filter(({ terminating }) => !terminating)
  const isServing = status.verdict?.state !== 'Switching'
  if (isServing && isRejected(release, desired))
    return { reason: ReleaseReason.Rejected, message: 'spec.review.rejectedDigest is its digest' }
  // What was gone back to has nothing behind it but the base, and goes there only when it cannot be loaded at all.
  if (status.verdict?.state === 'RolledBack') return unloadable(desired, theirs, () => true)
  if (status.watch?.digest !== desired.digest) return undefined
  return (
    (isServing ? unloadable(desired, theirs, (reason) => reason !== ReleaseReason.ArtifactMissing) : undefined) ??
    crashLoop(release, status.watch, theirs) ??
    (isServing ? (tooManyErrors(release, desired, theirs) ?? tooSlow(release, desired, theirs)) : undefined)
  )
}

/** Files that are gone may come back, so by themselves they are no regression. */
function unloadable(
  desired: Adapter,
  pods: readonly ServingPod[],
  counts: (reason: ReleaseReason) => boolean,
): Regression | undefined {
  for (const { name, state } of pods) {
    if (!state?.failure || state.failedGeneration !== desired.generation) continue
    const reason = failureReason(state.failure)
    if (counts(reason)) return { reason, message: `pod ${name} cannot load ${nameOf(desired)}: ${state.failure}` }
  }
  return undefined
}

function crashLoop({ spec }: Release, watch: Watch, pods: readonly ServingPod[]): Regression | undefined {
  for (const { name, uid, restarts, trouble } of pods) {
    const since = restarts - (watch.restarts?.find((each) => each.uid === uid)?.count ?? 0)
    if (since <= spec.rollback.maxRestarts || trouble?.kind === 'artifact') continue
    const words = trouble ? `: ${trouble.message}` : ''
    return {
      reason: ReleaseReason.CrashLooping,
      message: `pod ${name} restarted ${since} times, expected at most ${spec.rollback.maxRestarts}${words}`,
    }
  }
  return undefined
}

const healthOf = (desired: Adapter, pods: readonly ServingPod[]) =>
  pods.flatMap(({ name, state }) =>
    state?.health && state.digest === desired.digest ? [{ name, ...state.health }] : [],
  )

function tooManyErrors({ spec }: Release, desired: Adapter, pods: readonly ServingPod[]): Regression | undefined {
  const { maxErrorPercent, minRequests } = spec.rollback
  if (maxErrorPercent === undefined) return undefined
  const all = healthOf(desired, pods)
  const requests = all.reduce((sum, each) => sum + each.requests, 0)
  const errors = all.reduce((sum, each) => sum + each.errors, 0)
  if (requests < minRequests || !(errors * 100 > Number(maxErrorPercent) * requests)) return undefined
  return {
    reason: ReleaseReason.TooManyErrors,
    message: `${errors} of ${requests} requests of the last minute failed, expected at most ${maxErrorPercent} %`,
  }
}

function tooSlow({ spec }: Release, desired: Adapter, pods: readonly ServingPod[]): Regression | undefined {
  const { maxFirstTokenSeconds, minRequests } = spec.rollback
  if (maxFirstTokenSeconds === undefined) return undefined
  const slow = healthOf(desired, pods).find(
    ({ requests, firstTokenP95Seconds }) =>
      requests >= minRequests && firstTokenP95Seconds > Number(maxFirstTokenSeconds),
  )
  if (!slow) return undefined
  const seconds = slow.firstTokenP95Seconds.toPrecision(3)
  return {
    reason: ReleaseReason.TooSlow,
    message: `in pod ${slow.name} 95 % of ${slow.requests} requests had their first token within ${seconds} s, expected ${maxFirstTokenSeconds} s`,
  }
}
