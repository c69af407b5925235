import { PushedCondition, ReleaseReason } from '../api/release-reasons.ts'
import { WorkloadReason } from '../api/workload-reasons.ts'
import { type Condition, kubeTime } from '../kube/conditions.ts'
import type { AttemptState } from '../workload/attempt-state.ts'
import { backoffSeconds, secondsLeft } from '../workload/backoff.ts'
import { type Ending, remedyOf } from '../workload/ending.ts'
import { type Adapter, baseDigest, nameOf, type Release, type Status } from './adapter.ts'
import type { Refusal } from './children.ts'
import type { Observed } from './observed.ts'
import { destinationOf, pushJobName } from './push-job.ts'
import { shortHash } from './serving.ts'
import { cut, messageLimit } from './text.ts'
import type { Transition } from './transitions.ts'

/*
 *   active ── spec.push, not in status.pushed ──▶ attempt ── Job completed ──▶ status.pushed
 *                                                   └─ disrupted, failed ──▶ next attempt, after a while, for ever
 *
 * Beside everything else and after it: a push is only thought of when there is nothing to do for what serves, and no outcome of it
 * touches Ready. An attempt under way is followed to its end, also when something else has become active meanwhile.
 */

export type Push = NonNullable<Status['push']>
export type Pushed = NonNullable<Status['pushed']>[number]

export type PushStep =
  | { readonly kind: 'transition'; readonly transition: Transition }
  | { readonly kind: 'push'; readonly adapter: Adapter; readonly attempt: number }
  | { readonly kind: 'wait'; readonly seconds: number }

const lookAgainSeconds = 15
/** A person must act before the same push can end otherwise, mostly at the registry or in the Secret, and neither is watched. */
const hopelessSeconds = 3600
const pushedLength = 20

/** The Job that status.push speaks of, if it is wanted: under way, or the last that ended, for its log. */
export function currentPush(release: Release): { readonly jobName: string; readonly attempt: number } | undefined {
  const { push } = release.status ?? {}
  if (!push || (!push.finishTime && push.to !== hashOf(release))) return undefined
  return { jobName: pushJobName(release.metadata.name, push.digest, push.number), attempt: push.number }
}

/** Undefined when there is nothing to push. */
export function pushStep(release: Release, { push: state }: Observed, now: Date): PushStep | undefined {
  const status = release.status ?? {}
  const adapter = toPush(release)
  if (!adapter) return undefined
  const push = attemptFor(release, adapter)
  if (!push) return next(release, adapter, 0)
  if (push.finishTime) {
    const seconds = secondsLeft(push.finishTime, waitSeconds(push), now)
    return seconds > 0 ? { kind: 'wait', seconds } : next(release, adapter, push.failures)
  }
  switch (state.kind) {
    case 'absent':
      return { kind: 'push', adapter, attempt: push.number }
    case 'leaving':
    case 'pending':
    case 'running':
      return { kind: 'wait', seconds: lookAgainSeconds }
    case 'ended':
      return { kind: 'transition', transition: ended(release, status, adapter, push, state.ending, now) }
  }
}

/** The attempt that was begun, or else what serves and was not pushed yet. */
function toPush(release: Release): Adapter | undefined {
  const { push, active, history = [] } = release.status ?? {}
  if (!release.spec.push || !active) return undefined
  const begun = push && !push.finishTime && push.to === hashOf(release) ? push.digest : undefined
  const adapter = history.find(({ digest }) => digest === begun && digest !== baseDigest) ?? active
  return adapter.digest === baseDigest || pushedOf(release, adapter) ? undefined : adapter
}

/** The newest attempt, if it is at this adapter and by what spec.push now says. */
function attemptFor(release: Release, { digest }: Adapter): Push | undefined {
  const { push } = release.status ?? {}
  return push?.digest === digest && push.to === hashOf(release) ? push : undefined
}

function pushedOf({ spec, status }: Release, { digest }: Adapter): Pushed | undefined {
  const { push } = spec
  if (!push) return undefined
  const destination = destinationOf(push)
  return status?.pushed?.find(
    (each) => each.digest === digest && each.artifact === push.artifact && each.destination === destination,
  )
}

const hashOf = ({ spec }: Release): string => shortHash(spec.push ?? null)

const waitSeconds = ({ failures, reason }: Push): number =>
  reason !== undefined && remedyOf(reason) === 'nothing' ? hopelessSeconds : backoffSeconds(failures + 2)

/** Status first, then the Job: its name follows from what is written here. */
function next(release: Release, { digest }: Adapter, failures: number): PushStep {
  const before = release.status?.push
  const { reason, message } = failures > 0 ? (before ?? {}) : {}
  const why = { ...(reason && { reason }), ...(message && { message }) }
  const push = { digest, to: hashOf(release), number: (before?.number ?? 0) + 1, failures, ...why }
  return { kind: 'transition', transition: { changes: { push } } }
}

function ended({ spec }: Release, status: Status, adapter: Adapter, push: Push, ending: Ending, now: Date): Transition {
  const finishTime = kubeTime(now)
  switch (ending.kind) {
    case 'completed': {
      const { reference, digest } = ending.result.push ?? {}
      if (!reference || digest !== adapter.digest || !spec.push)
        return failed(push, 'ResultMissing', 'the Job told of no push of this adapter', now)
      const { artifact } = spec.push
      const entry = { digest, artifact, destination: destinationOf(spec.push), reference, time: finishTime }
      const { reason: _, message: __, ...done } = push
      return {
        changes: {
          push: { ...done, failures: 0, finishTime },
          pushed: [entry, ...(status.pushed ?? [])].slice(0, pushedLength),
        },
      }
    }
    case 'disrupted':
      return { changes: { push: { ...push, finishTime } } }
    case 'failed':
      return failed(push, ending.reason, ending.message, now)
  }
}

function failed(push: Push, reason: string, words: string, now: Date): Transition {
  const message = cut(words, messageLimit)
  return { changes: { push: { ...push, failures: push.failures + 1, finishTime: kubeTime(now), reason, message } } }
}

/** The Job could not be made. What serves is not touched by that. */
export function pushRefused(release: Release, { summary }: Refusal, now: Date): Transition {
  const { push } = release.status ?? {}
  return push ? failed(push, summary.reason, summary.message, now) : { changes: {} }
}

/** Why a pod that has not begun yet is no reason to worry. */
const onItsWay: readonly WorkloadReason[] = [
  WorkloadReason.Scheduling,
  WorkloadReason.Queued,
  WorkloadReason.Starting,
  WorkloadReason.Disrupted,
]

/** The condition Pushed, of what serves; undefined when nothing is to be pushed. */
export function pushCondition(
  release: Release,
  state: AttemptState,
): Pick<Condition, 'type' | 'status' | 'reason' | 'message'> | undefined {
  const { active } = release.status ?? {}
  if (!release.spec.push || !active || active.digest === baseDigest) return undefined
  const says = (status: Condition['status'], reason: string, message: string) => ({
    type: PushedCondition,
    status,
    reason,
    message: cut(message, messageLimit),
  })
  const pushed = pushedOf(release, active)
  if (pushed) return says('True', ReleaseReason.Pushed, pushed.reference)
  const name = nameOf(active)
  const push = attemptFor(release, active)
  if (push && !push.finishTime && state.kind === 'pending' && !onItsWay.includes(state.reason))
    return says('False', state.reason, `pushing ${name}: ${state.message}`)
  if (push && push.failures > 0)
    return says(
      'False',
      ReleaseReason.PushFailed,
      `pushing ${name} failed ${push.failures === 1 ? 'once' : `${push.failures} times`}: ${push.reason}: ${push.message}; tried again`,
    )
  const how = push && state.kind === 'running' ? `pod ${state.pod.name} sends it` : 'a Job is to send it'
  return says('Unknown', ReleaseReason.Pushing, `pushing ${name} to ${destinationOf(release.spec.push)}: ${how}`)
}
