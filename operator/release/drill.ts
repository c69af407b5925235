import { ReleaseReason } from '../api/release-reasons.ts'
import { kubeTime } from '../kube/conditions.ts'
import { drilled, isDrilling, nameOf, type Release, type Status, sameAdapter } from './adapter.ts'
import type { Summary } from './decide.ts'
import type { ServingPod } from './observed.ts'
import type { Obstacle } from './obstacle.ts'
import type { Probes } from './probes.ts'
import { isRejected } from './review.ts'
import { deploymentName } from './serving.ts'
import type { Resolution } from './source.ts'
import { cut, messageLimit } from './text.ts'
import type { Transition } from './transitions.ts'

/*
 *   annotation ── Ready, something served before ──▶ There ── every pod has it ──▶ Back ── every pod has the active one ──▶ Passed
 *        └─ else ─▶ Refused                            └─ cannot load it, too slow ─▶ Back ────────────────────────────────▶ Failed
 *
 * Only status.drill and generations change: active, previous and history stay what they are. Each leg is one write, so an
 * operator that dies goes on where the pods are. A spec that asks for something else ends the drill at once.
 */

/** A new value asks for a drill: what serves gives way to what served before and comes back, under requests. */
export const drillAnnotation = 'humanizer.dev/drillRequestedAt'

/** Pods that have not loaded what served before within this time, in seconds, make the drill fail and go back. */
const legSeconds = 60
const valueLimit = 64

type Drill = NonNullable<Status['drill']>

/** The value of the annotation, if no drill was made for it yet. */
function requested({ metadata, status }: Release): string | undefined {
  const value = metadata.annotations?.[drillAnnotation]
  if (!value) return undefined
  const asked = cut(value, valueLimit)
  return status?.drill?.requestedAt === asked ? undefined : asked
}

/** Begins the drill that was asked for, or says why there is none; undefined when none was. `stands`: how the release does. */
export function drillStart(
  release: Release,
  pods: readonly ServingPod[],
  image: string,
  stands: Summary,
  now: Date,
): Transition | undefined {
  const requestedAt = requested(release)
  if (requestedAt === undefined) return undefined
  const { active, previous, deployment, switchGeneration = 0 } = release.status ?? {}
  const theirs = pods.filter((pod) => pod.deployment === deployment && !pod.terminating)
  const objection = objectionTo(release, theirs, image, stands)
  if (objection !== undefined || !active || !previous) {
    const message = cut(objection ?? '', messageLimit)
    return {
      changes: { drill: { requestedAt, state: 'Refused', startedTime: kubeTime(now), message } },
      event: { type: 'Warning', reason: ReleaseReason.DrillRefused, message: `no rollback drill: ${message}` },
    }
  }
  const generation = switchGeneration + 1
  return {
    changes: {
      switchGeneration: generation,
      drill: {
        requestedAt,
        state: 'There',
        from: active.digest,
        to: previous.digest,
        generation,
        startedTime: kubeTime(now),
        legTime: now.toISOString(),
        lost: 0,
        pods: theirs.slice(0, 64).map(({ uid, state }) => ({
          uid,
          answered: state?.answeredRequests ?? 0,
          lost: state?.lostRequests ?? 0,
        })),
      },
    },
    event: {
      type: 'Normal',
      reason: ReleaseReason.Drilling,
      message: `rollback drill: ${nameOf(active)} gives way to ${nameOf(previous)} and comes back`,
    },
  }
}

function objectionTo(
  release: Release,
  pods: readonly ServingPod[],
  image: string,
  { state, reason, message }: Summary,
): string | undefined {
  const { active, previous, deployment } = release.status ?? {}
  if (rollouts.has(reason)) return `a rollout is going on: ${message}`
  if (state !== 'ready') return `the release is not Ready: ${reason}: ${message}`
  if (!active || !previous) return 'nothing served before what serves now, so there is nothing to go back to'
  if (isRejected(release, previous)) return `spec.review.rejectedDigest is that of ${nameOf(previous)}`
  if (deploymentName(release, previous, image) !== deployment)
    return `${nameOf(previous)} sits on another base, so going back takes new pods; a drill switches pods that run`
  const silent = pods.find((pod) => !pod.state)
  return silent && `pod ${silent.name} does not answer`
}

const rollouts: ReadonlySet<string> = new Set([
  ReleaseReason.Switching,
  ReleaseReason.Stepping,
  ReleaseReason.PodsStarting,
  ReleaseReason.NoCapacity,
  ReleaseReason.StorageNotShared,
  ReleaseReason.ClaimNotFound,
])

/** The drill is over when the spec wants something else than the adapter that it comes back to, or rejects one of the two. */
export function drillInterrupted(release: Release, resolution: Resolution): Transition | undefined {
  const { status = {} } = release
  const { drill, active } = status
  if (!drill || !isDrilling(status)) return undefined
  const rejected = [active, drilled(status)].find((each) => each && isRejected(release, each))
  const isWanted = resolution.kind === 'resolved' && sameAdapter(resolution.adapter, active)
  if (isWanted && !rejected) return undefined
  const message = rejected
    ? `spec.review.rejectedDigest became that of ${nameOf(rejected)}`
    : 'spec.source was changed meanwhile'
  return { changes: { ...comeBack(status), drill: over(drill, 'Failed', { message }) }, event: failed(message) }
}

/** What a leg of the drill leads to; undefined while it is under way. `moved`: other pods are about to take these ones' place. */
export function drillStep(
  { status = {} }: Release,
  pods: readonly ServingPod[],
  inTheWay: Obstacle | undefined,
  moved: boolean,
  probes: Probes,
  now: Date,
): Transition | undefined {
  const { drill } = status
  if (!drill || !isDrilling(status)) return undefined
  const seconds = (now.getTime() - Date.parse(drill.legTime ?? '')) / 1000
  const lost = (drill.lost ?? 0) + probes.lost
  if (drill.state === 'Back') return inTheWay ? undefined : ended({ ...drill, lost }, pods, seconds)
  const problem = moved ? 'the serving pods are being replaced' : inTheWay && problemOf(inTheWay, seconds)
  if (inTheWay && problem === undefined) return undefined
  return {
    changes: {
      ...comeBack(status),
      drill: {
        ...drill,
        state: 'Back',
        legTime: now.toISOString(),
        lost,
        ...(problem === undefined ? { secondsThere: decimal(seconds) } : { message: cut(problem, messageLimit) }),
      },
    },
  }
}

function problemOf({ reason, message }: Obstacle, seconds: number): string | undefined {
  if (hopeless.has(reason)) return message
  return seconds > legSeconds ? `not there after ${legSeconds} s: ${message}` : undefined
}

const hopeless: ReadonlySet<string> = new Set([
  ReleaseReason.LoadFailed,
  ReleaseReason.CanaryFailed,
  ReleaseReason.ArtifactMissing,
  ReleaseReason.PodsDisagree,
])

function ended(drill: Drill, pods: readonly ServingPod[], seconds: number): Transition {
  const counted = countsOf(drill, pods)
  const { answered, lost = drill.lost ?? 0 } = counted
  const secondsBack = decimal(seconds)
  const figures = { secondsBack, lost, ...(answered !== undefined && { answered }) }
  const problem = drill.message ?? counted.problem ?? (lost > 0 ? `${lost} requests were lost` : undefined)
  if (problem !== undefined)
    return { changes: { drill: over(drill, 'Failed', { ...figures, message: problem }) }, event: failed(problem) }
  const message = `there in ${drill.secondsThere} s, back in ${secondsBack} s; ${answered} requests answered, none lost`
  return {
    changes: { drill: over(drill, 'Passed', { ...figures, message }) },
    event: { type: 'Normal', reason: ReleaseReason.DrillPassed, message: `rollback drill: ${message}` },
  }
}

/** Requests of everybody, by the pods' own counters, and of those of ours that no pod answered. */
function countsOf(drill: Drill, pods: readonly ServingPod[]): { answered?: number; lost?: number; problem?: string } {
  const before = new Map(drill.pods?.map((each) => [each.uid, each]))
  let answered = 0
  let lost = drill.lost ?? 0
  for (const { uid, state } of pods) {
    const was = before.get(uid) ?? { answered: 0, lost: 0 }
    before.delete(uid)
    if (!state || state.answeredRequests < was.answered || state.lostRequests < was.lost)
      return { problem: `pod ${uid} has started again or does not answer, so its requests are not known` }
    answered += state.answeredRequests - was.answered
    lost += state.lostRequests - was.lost
  }
  const [gone] = before.keys()
  return gone === undefined ? { answered, lost } : { problem: `pod ${gone} is gone, so its requests are not known` }
}

/** The active adapter outranks what the drill gave to the pods. */
function comeBack({ active, switchGeneration = 0 }: Status): Transition['changes'] {
  const generation = switchGeneration + 1
  return { switchGeneration: generation, ...(active && { active: { ...active, generation } }) }
}

/** Without what only a drill under way needs. */
function over(
  { pods: _, legTime: __, generation: ___, ...drill }: Drill,
  state: Drill['state'],
  last: Partial<Drill>,
): Drill {
  return { ...drill, ...last, state, ...(last.message && { message: cut(last.message, messageLimit) }) }
}

const failed = (message: string): NonNullable<Transition['event']> => ({
  type: 'Warning',
  reason: ReleaseReason.DrillFailed,
  message: `rollback drill: ${message}`,
})

const decimal = (seconds: number): string => Math.max(0, seconds).toFixed(2)
