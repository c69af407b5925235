import { ReleaseReason } from '../api/release-reasons.ts'
import { kubeTime } from '../kube/conditions.ts'
import { type Adapter, asProposed, nameOf, type Release, type Status, sameAdapter, served } from './adapter.ts'
import type { ServingPod } from './observed.ts'
import { isRejected } from './review.ts'
import { baseBelow } from './source.ts'
import { becauseLimit, cut, messageLimit } from './text.ts'
import { fingerprint, isOnItsWay, refused, type Transition } from './transitions.ts'
import { type Regression, regression, watchLeft } from './watch.ts'

/**
 * A candidate that regresses while pods load it is refused; what serves goes back to what served before, in one write, under a
 * higher generation; what was gone back to and cannot be loaded either gives way to the base.
 */
export function goingBack(release: Release, pods: readonly ServingPod[], now: Date): Transition | undefined {
  const { status = {}, spec } = release
  const found = regression(release, pods)
  if (!found) return trusted(release, now)
  if (isOnItsWay(status)) return refused(status, found.reason, found.message)
  if (!status.active) return undefined
  const isFurther = status.verdict?.state === 'RolledBack'
  if (isFurther && status.active.digest === '') return undefined // the base itself: there is nothing below it
  const isPersons = found.reason === ReleaseReason.Rejected
  if (spec.rollback.mode === 'Manual' && !isFurther && !isPersons) return noticed(release, status.active, found)
  return rolledBack(release, status.active, isFurther, found, now)
}

/** Nobody said anything against it for long enough. */
function trusted(release: Release, now: Date): Transition | undefined {
  const left = watchLeft(release, now)
  return left !== undefined && left <= 0 ? { changes: { watch: undefined } } : undefined
}

function noticed(release: Release, active: Adapter, { reason, message }: Regression): Transition {
  const text = cut(`${reason}: ${message}`, messageLimit)
  const verdict = { state: 'Regressed', judged: fingerprint(release, active), reason, message: text } as const
  return {
    changes: { candidate: asProposed(active), verdict, watch: undefined },
    event: { type: 'Warning', reason: ReleaseReason.Regressed, message: `${nameOf(active)} regressed: ${text}` },
  }
}

function rolledBack(release: Release, active: Adapter, isFurther: boolean, found: Regression, now: Date): Transition {
  const { status = {}, spec } = release
  const { previous } = status
  const isToPrevious = !isFurther && spec.rollback.to !== 'Base' && previous && !isRejected(release, previous)
  const target = isToPrevious ? previous : baseBelow(active)
  const generation = (status.switchGeneration ?? 0) + 1
  const next = { ...asProposed(target), generation, activeSinceTime: kubeTime(now) }
  const message = cut(`${found.reason}: ${found.message}`, messageLimit)
  const left = { leftTime: kubeTime(now), leftBecause: cut(`rolled back, ${message}`, becauseLimit), regressed: true }
  const others = served(status).filter((each) => !sameAdapter(each, next))
  const changes: Partial<Status> = isFurther
    ? {}
    : {
        candidate: asProposed(active),
        verdict: { state: 'RolledBack', judged: fingerprint(release, active), reason: found.reason, message },
      }
  return {
    changes: {
      ...changes,
      switchGeneration: generation,
      active: next,
      previous: undefined,
      watch: undefined,
      history: [next, ...others.map((each) => (sameAdapter(each, active) ? { ...each, ...left } : each))],
    },
    event: {
      type: 'Warning',
      reason: ReleaseReason.RolledBack,
      message: `${nameOf(active)} gave way to ${nameOf(next)}: ${message}`,
    },
  }
}
