import { ReleaseReason } from '../api/release-reasons.ts'
import { kubeTime } from '../kube/conditions.ts'
import { type Adapter, baseDigest, nameOf, type Release, type Status, sameAdapter, served } from './adapter.ts'
import { needsMerge } from './form.ts'
import { judge, objection } from './gates.ts'
import type { ServingPod } from './observed.ts'
import { failureReason } from './obstacle.ts'
import { expiry, isApproved, stopFor } from './review.ts'
import { shortHash } from './serving.ts'
import { firstStep } from './steps.ts'
import { cut, messageLimit, replacedBy } from './text.ts'
import { watchOf } from './watch.ts'

/** A step that is taken by writing it into status. A field set to undefined is dropped. */
export interface Transition {
  readonly changes: { readonly [Field in keyof Status]?: Status[Field] | undefined }
  /** Told to people as an Event, once the status is written. */
  readonly event?: { readonly type: 'Normal' | 'Warning'; readonly reason: string; readonly message: string }
}

/** A generation that a pod claims beyond this is nonsense, not a lost status. */
const largestCredibleGeneration = 2 ** 40

/** A pod that goes on knowing more than it was given is no lost status either: it is answered this rarely, in seconds. */
const repairSeconds = 60

/**
 * A pod was once given a generation that status does not know (an older status was restored): go on above it, since a
 * pod never takes a lower one.
 */
export function repair(status: Status, pods: readonly ServingPod[], now: Date): Transition | undefined {
  const since = now.getTime() - Date.parse(status.repairTime ?? '')
  if (since < repairSeconds * 1000) return undefined
  const known = status.switchGeneration ?? 0
  const claimed = pods.flatMap(({ state }) => (state ? [state.generation, state.failedGeneration] : []))
  const highest = Math.max(0, ...claimed.filter((generation) => generation < largestCredibleGeneration))
  if (highest <= known) return undefined
  const switchGeneration = highest + 1
  const isSwitching = status.verdict?.state === 'Switching'
  return {
    changes: {
      switchGeneration,
      repairTime: kubeTime(now),
      ...(isSwitching && status.candidate && { candidate: { ...status.candidate, generation: switchGeneration } }),
      ...(!isSwitching && status.active && { active: { ...status.active, generation: switchGeneration } }),
      ...(status.drill?.state === 'There' && { drill: { ...status.drill, generation: switchGeneration } }),
    },
  }
}

/** The candidate is not wanted any more. Pods that may have it get the active one back. */
export function withdrawal(status: Status): Transition | undefined {
  if (!status.candidate && !status.verdict) return undefined
  return { changes: { candidate: undefined, verdict: undefined, step: undefined, ...standDown(status) } }
}

/** Puts `adapter` to its gates, once per spec and evidence: it becomes the candidate, merged or switched to, held or refused. */
export function proposal(
  release: Release,
  adapter: Adapter,
  pods: readonly ServingPod[],
  image: string,
  now: Date,
): Transition | undefined {
  const status = release.status ?? {}
  const judged = fingerprint(release, adapter)
  if (sameAdapter(adapter, status.candidate) && status.verdict?.judged === judged) return deadline(release, now)
  const isKnown = served(status).some((each) => sameAdapter(each, adapter)) || adapter.digest === baseDigest
  const gates = isKnown ? [] : judge(release.spec.gates ?? [], adapter, status.active)
  const stop = stopFor(release, adapter, objection(gates), isKnown, now)
  if (stop) {
    const message = cut(stop.message, messageLimit)
    const verb = stop.state === 'Refused' ? 'was refused' : 'is held'
    return {
      changes: {
        candidate: adapter,
        verdict: { ...stop, message, judged, gates },
        step: undefined,
        ...standDown(status),
      },
      event: { type: 'Warning', reason: stop.reason, message: `${nameOf(adapter)} ${verb}: ${message}` },
    }
  }
  const { approvedBy } = release.spec.review ?? {}
  const approved = { ...adapter, ...(approvedBy && isApproved(release, adapter) && { approvedBy }) }
  if (!needsMerge(approved)) {
    const step = firstStep(release, approved, isKnown, image)
    return switchingTo(status, approved, { judged, gates }, pods, now, step)
  }
  return {
    changes: { candidate: approved, verdict: { state: 'Merging', judged, gates }, ...standDown(status) },
    event: { type: 'Normal', reason: ReleaseReason.Merging, message: `merging ${nameOf(adapter)}` },
  }
}

/** Pods are told to load it, for a share of the requests when there is a step. */
export function switchingTo(
  status: Status,
  adapter: Adapter,
  given: Omit<NonNullable<Status['verdict']>, 'state'>,
  pods: readonly ServingPod[],
  now: Date,
  step?: Status['step'],
): Transition {
  const generation = (status.switchGeneration ?? 0) + 1
  const way = step ? `going to ${nameOf(adapter)} in ${step.of} steps` : `switching to ${nameOf(adapter)}`
  return {
    changes: {
      switchGeneration: generation,
      candidate: { ...adapter, generation },
      verdict: { ...given, state: step ? 'Stepping' : 'Switching' },
      ...(step && status.active && { active: { ...status.active, generation } }),
      step,
      watch: watchOf(status, adapter, pods, now),
    },
    event: { type: 'Normal', reason: step ? ReleaseReason.Stepping : ReleaseReason.Switching, message: way },
  }
}

/** A person was waited for long enough. */
function deadline(release: Release, now: Date): Transition | undefined {
  const { verdict } = release.status ?? {}
  const stop = expiry(release, now)
  if (!stop || !verdict) return undefined
  const { state, reason, about } = stop
  const message = cut(stop.message, messageLimit)
  return {
    changes: { verdict: { ...verdict, state, reason, message } },
    event: { type: 'Warning', reason, message: `${about} was refused: ${message}` },
  }
}

/** One pod that cannot load the candidate is enough: nobody is to get answers of two adapters for good. */
export function refusalByPod(status: Status, pods: readonly ServingPod[]): Transition | undefined {
  const { candidate, active, verdict } = status
  if (!isOnItsWay(status) || !candidate) return undefined
  const given = verdict?.state === 'Stepping' ? active?.generation : candidate.generation
  const failed = pods.find(
    ({ state, terminating }) => !terminating && state?.failure && state.failedGeneration === given,
  )
  if (!failed) return undefined
  const failure = failed.state?.failure ?? ''
  return refused(status, failureReason(failure), `pod ${failed.name}: ${failure}`)
}

/** The candidate that pods were loading is given up. */
export function refused(status: Status, reason: ReleaseReason, text: string): Transition {
  const message = cut(text, messageLimit)
  return {
    changes: {
      ...(status.verdict && { verdict: { ...status.verdict, state: 'Refused', reason, message } }),
      watch: undefined,
      step: undefined,
      ...standDown(status),
    },
    event: { type: 'Warning', reason, message },
  }
}

/** Every pod has it: it is active, and what was becomes previous. Also a move to another Deployment of the same adapter. */
export function promotion(status: Status, adapter: Adapter, deployment: string, now: Date): Transition {
  const { active } = status
  if (sameAdapter(adapter, active))
    return { changes: { deployment, active: adapter, ...settledCandidate(status, adapter) } }
  const activated = { ...adapter, activeSinceTime: kubeTime(now) }
  const others = served(status).filter((each) => !sameAdapter(each, adapter))
  const isKnown = others.length < served(status).length
  const leftBecause = replacedBy(nameOf(adapter), isKnown)
  const left = { leftTime: kubeTime(now), leftBecause, ...(isKnown && { wentBack: true }) }
  return {
    changes: {
      active: activated,
      ...(active && { previous: active }),
      history: [activated, ...others.map((each) => (sameAdapter(each, active) ? { ...each, ...left } : each))],
      candidate: undefined,
      verdict: undefined,
      deployment,
      ...(status.watch && { watch: { ...status.watch, sinceTime: kubeTime(now) } }),
    },
    event: { type: 'Normal', reason: ReleaseReason.Serving, message: `${nameOf(adapter)} serves` },
  }
}

/** The candidate goes when it is what became active; one that was refused stays to be seen. */
function settledCandidate(status: Status, adapter: Adapter): Transition['changes'] {
  return sameAdapter(status.candidate, adapter) ? { candidate: undefined, verdict: undefined } : {}
}

/** Whether pods were told of the candidate. */
export const isOnItsWay = ({ verdict }: Status): boolean =>
  verdict?.state === 'Switching' || verdict?.state === 'Stepping'

/** Pods may have been told to load the candidate: the active adapter must outrank it. */
function standDown(status: Status): Transition['changes'] {
  if (!isOnItsWay(status) || !status.active) return {}
  const generation = (status.switchGeneration ?? 0) + 1
  return { switchGeneration: generation, active: { ...status.active, generation } }
}

/**
 * A verdict holds until the spec or the evidence changes; neither the number of replicas nor where copies go is a reason to judge again.
 * What served is judged by no evidence.
 */
export function fingerprint({ spec, status }: Release, adapter: Adapter): string {
  const { push: _, ...judged } = spec
  const { replicas: __, ...serving } = spec.serving
  const { digest, metrics } = adapter
  const isKnown = served(status).some((each) => sameAdapter(each, adapter))
  return shortHash({ ...judged, serving, digest, ...(!isKnown && { metrics }) })
}
