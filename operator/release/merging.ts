import { ReleaseReason } from '../api/release-reasons.ts'
import { kubeTime } from '../kube/conditions.ts'
import type { AttemptState } from '../workload/attempt-state.ts'
import { backoffSeconds, secondsLeft } from '../workload/backoff.ts'
import { type Ending, remedyOf } from '../workload/ending.ts'
import { type Adapter, nameOf, type Release, type Status } from './adapter.ts'
import type { Summary } from './decide.ts'
import { mergeJobName } from './merge-job.ts'
import type { Observed, ServingPod } from './observed.ts'
import { cut, messageLimit } from './text.ts'
import { refused, switchingTo, type Transition } from './transitions.ts'

/*
 *   gates ── pass, form Merged ──▶ candidate Merging ── Job completed ──▶ Switching (its own Deployment beside the old one)
 *                                     │    └─ disrupted, failed ──▶ next attempt, after a while
 *                                     └─ cannot be merged, or failed too often ──▶ Refused
 *
 * What is active serves on all the while.
 */

export type Merge = NonNullable<Status['merge']>

export type MergeStep =
  | { readonly kind: 'transition'; readonly transition: Transition }
  | { readonly kind: 'merge'; readonly adapter: Adapter; readonly attempt: number }
  | { readonly kind: 'wait'; readonly summary: Summary; readonly seconds: number }

/** Failures that may be chance, before the candidate is refused. */
const mostFailures = 3
const lookAgainSeconds = 15

/** The Job that status speaks of. */
export function currentMerge(release: Release): { readonly jobName: string; readonly attempt: number } | undefined {
  const { merge } = release.status ?? {}
  if (!merge) return undefined
  return { jobName: mergeJobName(release.metadata.name, merge.digest, merge.number), attempt: merge.number }
}

/** Undefined when no candidate is to be merged. */
export function mergeStep(release: Release, { merge: state, pods }: Observed, now: Date): MergeStep | undefined {
  const status = release.status ?? {}
  const { candidate, verdict } = status
  if (verdict?.state !== 'Merging' || !candidate) return undefined
  const merge = status.merge?.digest === candidate.digest ? status.merge : undefined
  if (!merge) return next(status, candidate, 0)
  if (merge.finishTime) {
    const seconds = secondsLeft(merge.finishTime, backoffSeconds(merge.failures), now)
    return seconds > 0
      ? wait(candidate, `${merge.message ?? ''}; tried again`, seconds)
      : next(status, candidate, merge.failures)
  }
  return follow(status, candidate, merge, state, pods, now)
}

/** Status first, then the Job: its name follows from what is written here. */
function next(status: Status, candidate: Adapter, failures: number): MergeStep {
  const merge = { digest: candidate.digest, number: (status.merge?.number ?? 0) + 1, failures }
  return { kind: 'transition', transition: { changes: { merge } } }
}

function follow(
  status: Status,
  candidate: Adapter,
  merge: Merge,
  state: AttemptState,
  pods: readonly ServingPod[],
  now: Date,
): MergeStep {
  switch (state.kind) {
    case 'absent':
      return { kind: 'merge', adapter: candidate, attempt: merge.number }
    case 'leaving':
      return wait(candidate, 'the Job was deleted; waiting until its pod is gone', lookAgainSeconds)
    case 'pending':
      return wait(candidate, state.message, lookAgainSeconds)
    case 'running':
      return wait(candidate, `pod ${state.pod.name} writes it into its base's weights`, lookAgainSeconds)
    case 'ended':
      return { kind: 'transition', transition: judge(status, candidate, merge, state.ending, pods, now) }
  }
}

function judge(
  status: Status,
  candidate: Adapter,
  merge: Merge,
  ending: Ending,
  pods: readonly ServingPod[],
  now: Date,
): Transition {
  switch (ending.kind) {
    case 'completed': {
      const result = ending.result.merge
      if (!result?.model?.digest || !result.model.path || result.adapterDigest !== candidate.digest)
        return failed(status, candidate, merge, 'ResultMissing', 'the Job told no merged model of this adapter', now)
      const { path, digest } = result.model
      const merged = {
        path,
        digest,
        logitError: decimal(result.logitError),
        adapterEffect: decimal(result.adapterEffect),
      }
      const { judged = '', gates } = status.verdict ?? {}
      const given = { judged, ...(gates && { gates }) }
      const { changes, ...told } = switchingTo(status, { ...candidate, merged }, given, pods, now)
      return { ...told, changes: { ...changes, merge: { ...merge, failures: 0, finishTime: kubeTime(now) } } }
    }
    case 'disrupted':
      return { changes: { merge: { ...merge, finishTime: kubeTime(now), message: cut(ending.message, messageLimit) } } }
    case 'failed':
      return failed(status, candidate, merge, ending.reason, ending.message, now)
  }
}

function failed(
  status: Status,
  candidate: Adapter,
  merge: Merge,
  reason: string,
  words: string,
  now: Date,
): Transition {
  const failures = merge.failures + 1
  const message = cut(`${reason}: ${words}`, messageLimit)
  const remedy = remedyOf(reason)
  const isFinal = remedy === 'nothing' || remedy === 'lessMemory' || (remedy === 'again' && failures >= mostFailures)
  const finishTime = kubeTime(now)
  if (!isFinal)
    return {
      changes: { merge: { ...merge, failures, finishTime, message } },
      event: {
        type: 'Warning',
        reason: ReleaseReason.Merging,
        message: `merging ${nameOf(candidate)} failed: ${message}`,
      },
    }
  const { changes, ...told } = refused(status, ReleaseReason.MergeFailed, `merging failed: ${message}`)
  return { ...told, changes: { ...changes, merge: { ...merge, failures: 0, finishTime, message } } }
}

function wait(candidate: Adapter, words: string, seconds: number): MergeStep {
  const message = `merging ${nameOf(candidate)}: ${words}`
  return { kind: 'wait', summary: { state: 'reconciling', reason: ReleaseReason.Merging, message }, seconds }
}

const decimal = (value: number): string => String(Number(value.toPrecision(3)))
