import type { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import { ReleaseReason } from '../api/release-reasons.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { type ClaimState, sharingOf } from '../workload/claim.ts'
import { LOOK_SELDOM } from '../workload/claim-state.ts'
import type { ClaimUse } from '../workload/pod.ts'
import { type Adapter, desiredOf, isDrilling, type Release, type Status, sameAdapter } from './adapter.ts'
import type { AdapterWork } from './adapter-job.ts'
import { drillInterrupted, drillStart, drillStep } from './drill.ts'
import { inForm } from './form.ts'
import { goingBack } from './going-back.ts'
import { leftovers } from './leftovers.ts'
import { type MergeStep, mergeStep } from './merging.ts'
import { callKey, type Observed, type ServingPod } from './observed.ts'
import { obstacle } from './obstacle.ts'
import { pinning } from './pins.ts'
import { agreedBefore, agrees } from './pods.ts'
import { pushStep } from './pushing.ts'
import {
  deploymentName,
  desiredAdapter,
  type ServingSettings,
  servingLabel,
  servingObjects,
  upToDate,
} from './serving.ts'
import { type Resolution, resolveSource } from './source.ts'
import { standing } from './standing.ts'
import { nextStep, secondsLeft, splitOf, stepWords } from './steps.ts'
import { fingerprint, promotion, proposal, refusalByPod, repair, type Transition, withdrawal } from './transitions.ts'
import { watchLeft, watchSeconds } from './watch.ts'

/**
 *   spec.source ── resolved ──▶ gates ── pass ──▶ candidate Switching ── every pod has it ──▶ active, previous, history
 *        │                        ├─ pass, spec.strategy ──▶ candidate Stepping (steps.ts) ──▶ Switching
 *        │                        ├─ fail ──▶ candidate Refused ◀── a pod cannot load it ─┘
 *        │                        └─ inconclusive, error, not reviewed ──▶ candidate Held, judged again when evidence or spec change
 *        └─ waiting, invalid: what is active serves on
 *
 * What serves is watched for a while (watch.ts) and gives way to what served before (going-back.ts) when it regresses.
 *
 * What is to serve goes into status first, then to the pods: desired.json always holds desiredOf(status), and a
 * candidate that is given up makes the active adapter come back under a higher generation.
 */
export type Decision =
  | { readonly kind: 'transition'; readonly transition: Transition }
  /** The Job that writes a candidate into weights. */
  | ({ readonly kind: 'merge' } & AdapterWork)
  /** The Job that sends it where spec.push says. */
  | ({ readonly kind: 'push' } & AdapterWork)
  | { readonly kind: 'apply'; readonly objects: readonly KubeObject[] }
  /** underLoad: these pods are asked all the while. */
  | {
      readonly kind: 'activate'
      readonly pods: readonly ServingPod[]
      readonly desired: DesiredAdapter
      readonly underLoad: readonly ServingPod[]
    }
  | { readonly kind: 'retire'; readonly objects: readonly KubeObject[] }
  /** Nothing to do now. state and reason become Ready, Reconciling and Stalled; seconds: look again, at the latest. */
  | { readonly kind: 'rest'; readonly summary: Summary; readonly seconds?: number }

type Rest = Extract<Decision, { kind: 'rest' }>
/** A merge that is under way. */
type Awaited = Extract<MergeStep, { kind: 'wait' }>

export interface Summary {
  readonly state: 'ready' | 'reconciling' | 'stalled'
  readonly reason: ReleaseReason
  readonly message: string
}

export function decide(release: Release, observed: Observed, settings: ServingSettings, now: Date): Decision {
  const decision = next(release, observed, settings, now)
  if (decision.kind !== 'rest' || isDrilling(release.status ?? {})) return decision
  const drill = drillStart(release, observed.pods, settings.trainerImage, decision.summary, now)
  return drill ? { kind: 'transition', transition: drill } : pushBeside(decision, release, observed, now)
}

/** A push takes a turn only when there is nothing to do for what serves. */
function pushBeside(decision: Rest, release: Release, observed: Observed, now: Date): Decision {
  const push = pushStep(release, observed, now)
  if (!push) return decision
  if (push.kind === 'transition') return push
  const { seconds = Number.POSITIVE_INFINITY } = decision
  if (push.kind === 'wait') return { ...decision, seconds: Math.min(seconds, push.seconds) }
  const use = claimUse(release, observed.claim)
  return 'kind' in use ? decision : { ...push, claim: use }
}

function next(release: Release, observed: Observed, settings: ServingSettings, now: Date): Decision {
  const status = release.status ?? {}
  const resolution = inForm(release, resolveSource(release, observed.sources))
  const transition = nextTransition(release, status, resolution, observed, settings, now)
  if (transition) return { kind: 'transition', transition }
  const stale = leftovers(release, [...observed.jobs, ...observed.children])
  if (stale.length > 0) return { kind: 'retire', objects: stale }
  const merge = mergeStep(release, observed, now)
  if (merge?.kind === 'merge') {
    const use = claimUse(release, observed.claim)
    return 'kind' in use ? use : { ...merge, claim: use }
  }
  if (merge && merge.kind !== 'wait') return merge

  const desired = desiredOf(status)
  if (!desired) {
    const idle = observed.children.filter(({ kind }) => kind === 'Deployment')
    if (idle.length > 0) return { kind: 'retire', objects: idle }
    return { kind: 'rest', ...standing(release, resolution, merge, now) }
  }
  return serve(release, desired, resolution, observed, merge, settings, now)
}

/** A step that needs nothing but a new status. */
function nextTransition(
  release: Release,
  status: Status,
  resolution: Resolution,
  observed: Observed,
  settings: ServingSettings,
  now: Date,
): Transition | undefined {
  const { pods } = observed
  const first = repair(status, pods, now) ?? drillInterrupted(release, resolution)
  if (first) return first
  const back = isDrilling(status) ? undefined : goingBack(release, pods, now)
  if (back) return back
  const isFinal = status.verdict?.state === 'RolledBack' || status.verdict?.state === 'Regressed'
  if (resolution.kind !== 'resolved') return isFinal ? undefined : withdrawal(status)
  const { adapter, pin } = resolution
  const pinned = pinning(status, pin)
  const step = sameAdapter(adapter, status.active)
    ? served(release, adapter)
    : (proposal(release, adapter, pods, settings.trainerImage, now) ?? refusalByPod(status, pods))
  if (Object.keys(pinned).length === 0) return step
  return { ...step, changes: { ...pinned, ...step?.changes } }
}

/** What is asked for serves. That it regressed stands until the spec changes. */
function served(release: Release, adapter: Adapter): Transition | undefined {
  const { status = {} } = release
  const isNoticed = status.verdict?.state === 'Regressed' && status.verdict.judged === fingerprint(release, adapter)
  return isNoticed ? undefined : withdrawal(status)
}

function serve(
  release: Release,
  desired: Adapter,
  resolution: Resolution,
  { children, claim, pods, asked }: Observed,
  merge: Awaited | undefined,
  settings: ServingSettings,
  now: Date,
): Decision {
  const status = release.status ?? {}
  const use = claimUse(release, claim)
  if ('kind' in use) return use

  const target = deploymentName(release, desired, settings.trainerImage)
  const wanted = servingObjects(release, {
    deployment: target,
    adapter: desired,
    serviceTo: status.deployment ?? target,
    claim: use,
    settings,
  })
  const stale = wanted.filter((object) => !upToDate(object, find(children, object.kind, object.metadata.name)))
  if (stale.length > 0) return { kind: 'apply', objects: stale }

  // The Service leads to neither: it was told so above, or never did.
  const old = children.filter(({ metadata }) => {
    const deployment = metadata.labels?.[servingLabel]
    return deployment !== undefined && deployment !== target && deployment !== status.deployment
  })
  if (old.length > 0) return { kind: 'retire', objects: old }

  const theirs = pods.filter((pod) => pod.deployment === target && !pod.terminating)
  const isSettled = status.verdict?.state !== 'Switching' && status.deployment === target
  const drills = isDrilling(status)
  const split = splitOf(status)
  const has = (pod: ServingPod) =>
    agrees(pod, desired, split) || (isSettled && !drills && agreedBefore(pod, desired, status))
  const behind = theirs.filter((pod) => pod.ip && !has(pod) && (pod.state?.generation ?? 0) < desired.generation)
  const uncalled = behind.filter(({ uid }) => !asked.called.has(callKey(uid, desired.generation)))
  if (uncalled.length > 0) {
    const underLoad = drills ? theirs.filter(({ ip }) => ip) : []
    return { kind: 'activate', pods: uncalled, desired: desiredAdapter(release, desired), underLoad }
  }

  const inTheWay = obstacle(find(children, 'Deployment', target), theirs, desired, split, has)
  const drill = drillStep(release, theirs, inTheWay, status.deployment !== target, asked.probes, now)
  if (drill) return { kind: 'transition', transition: drill }
  if (inTheWay) {
    const isOnItsWay = drills && inTheWay.reason === ReleaseReason.Switching
    return rest(
      'reconciling',
      isOnItsWay ? ReleaseReason.Drilling : inTheWay.reason,
      inTheWay.message,
      inTheWay.seconds,
    )
  }
  if (!sameAdapter(desired, status.active) || !isSettled)
    return { kind: 'transition', transition: promotion(status, desired, target, now) }
  const step = nextStep(release, now)
  if (step) return { kind: 'transition', transition: step }
  const stepLeft = secondsLeft(release, now)
  if (stepLeft !== undefined)
    return rest('reconciling', ReleaseReason.Stepping, stepWords(status), Math.min(stepLeft, watchSeconds))

  const isSilent = theirs.some((pod) => !pod.state)
  const { summary, seconds } = standing(release, resolution, merge, now)
  const left = watchLeft(release, now)
  const waits = [seconds, isSilent ? silenceSeconds : undefined, left && Math.min(left, watchSeconds)]
  const soonest = Math.min(...waits.filter((wait) => wait !== undefined))
  return { kind: 'rest', summary, ...(Number.isFinite(soonest) && { seconds: soonest }) }
}

/** A pod that did not answer is asked again after this time. */
const silenceSeconds = 3

/** How pods mount the claim, or why they cannot. */
function claimUse({ spec }: Release, claim: ClaimState | undefined): ClaimUse | Rest {
  const { claimName } = spec.storage
  if (!claim) {
    const message = `spec.storage.claimName: claim ${claimName} does not exist`
    return rest('reconciling', ReleaseReason.ClaimNotFound, message, 60)
  }
  const sharing = sharingOf(claim)
  if (sharing !== 'onePod') return { name: claim.name, singleNode: sharing === 'oneNode' }
  const message = `claim ${claimName} is ${claim.accessModes.join(', ')}; expected ReadWriteMany or ReadWriteOnce`
  return rest('stalled', ReleaseReason.StorageNotShared, message, LOOK_SELDOM)
}

function rest(state: Summary['state'], reason: ReleaseReason, message: string, seconds?: number): Rest {
  return { kind: 'rest', summary: { state, reason, message }, ...(seconds !== undefined && { seconds }) }
}

function find(children: readonly KubeObject[], kind: string, name: string): KubeObject | undefined {
  return children.find((child) => child.kind === kind && child.metadata.name === name)
}
