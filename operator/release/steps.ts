import { ReleaseReason } from '../api/release-reasons.ts'
import { kubeTime } from '../kube/conditions.ts'
import { type Adapter, nameOf, type Release, type Status } from './adapter.ts'
import { isRejected } from './review.ts'
import { deploymentName } from './serving.ts'
import type { Transition } from './transitions.ts'

/*
 *   judged ──▶ Stepping 1 ── pauseSeconds ──▶ Stepping 2 … ──▶ Switching ──▶ active
 *                  └─ regresses, cannot be loaded ─▶ Refused: no request goes to it any more
 *
 * What serves stays the desired adapter, under a new generation for each step; the candidate is the other side of its split.
 */

/** The share of the requests that a candidate answers, and the candidate; undefined when it is in no step. */
export interface Split {
  readonly adapter: Adapter
  readonly percent: number
}

export function splitOf({ verdict, candidate, step }: Status = {}): Split | undefined {
  if (verdict?.state !== 'Stepping' || !candidate || !step) return undefined
  return { adapter: candidate, percent: step.percent }
}

/** The first step of a candidate that goes by steps: the pods that serve can hold both. */
export function firstStep(release: Release, candidate: Adapter, isKnown: boolean, image: string): Status['step'] {
  const { spec, status } = release
  const steps = spec.strategy?.steps ?? []
  const active = status?.active
  // What a person rejected must not go on answering beside the candidate.
  if (isKnown || !active || !steps[0] || isRejected(release, active)) return undefined
  const [ours, theirs] = [active, candidate].map((each) => deploymentName(release, each, image))
  return ours === theirs ? { number: 1, of: steps.length, percent: steps[0].percent } : undefined
}

/** Where the step leads once every pod has it; undefined while it lasts, or there is none. */
export function nextStep({ spec, status = {} }: Release, now: Date): Transition | undefined {
  const { step, candidate, active, verdict, switchGeneration = 0 } = status
  if (!splitOf(status) || !step || !candidate || !verdict || !active) return undefined
  if (!step.sinceTime)
    return {
      changes: { step: { ...step, sinceTime: kubeTime(now) } },
      event: {
        type: 'Normal',
        reason: ReleaseReason.Stepping,
        message: `step ${step.number} of ${step.of}: ${nameOf(candidate)} answers ${step.percent} % of the requests`,
      },
    }
  if ((secondsLeft({ spec, status } as Release, now) ?? 0) > 0) return undefined
  const generation = switchGeneration + 1
  const following = spec.strategy?.steps[step.number]
  if (following)
    return {
      changes: {
        switchGeneration: generation,
        active: { ...active, generation },
        step: { number: step.number + 1, of: step.of, percent: following.percent },
      },
    }
  return {
    changes: {
      switchGeneration: generation,
      candidate: { ...candidate, generation },
      verdict: { ...verdict, state: 'Switching' },
      step: undefined,
    },
    event: { type: 'Normal', reason: ReleaseReason.Switching, message: `switching to ${nameOf(candidate)}` },
  }
}

/** Until the step is over; undefined when there is none that every pod has. */
export function secondsLeft({ spec, status = {} }: Release, now: Date): number | undefined {
  const { step } = status
  if (!splitOf(status) || !step?.sinceTime) return undefined
  const { pauseSeconds = 0 } = spec.strategy?.steps[step.number - 1] ?? {}
  return pauseSeconds - (now.getTime() - Date.parse(step.sinceTime)) / 1000
}

/** The step in a sentence. */
export function stepWords({ step, candidate, active }: Status): string {
  if (!step || !candidate || !active) return ''
  return `step ${step.number} of ${step.of}: ${step.percent} % of the requests go to ${nameOf(candidate)}, the others to ${nameOf(active)}`
}
