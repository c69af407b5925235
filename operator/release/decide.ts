import type { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import { ReleaseReason } from '../api/release-reasons.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { sharingOf } from '../workload/claim.ts'
import { type Adapter, desiredOf, isDrilling, nameOf, type Release, type Status, sameAdapter } from './adapter.ts'
import { drillInterrupted, drillStart, drillStep } from './drill.ts'
import { goingBack } from './going-back.ts'
import { callKey, type Observed, type ServingPod } from './observed.ts'
import { obstacle } from './obstacle.ts'
import { pinning } from './pins.ts'
import { agreedBefore, agrees } from './pods.ts'
import { waitsFor } from './review.ts'
import {
  deploymentName,
  desiredAdapter,
  type ServingSettings,
  servingLabel,
  servingObjects,
  upToDate,
} from './serving.ts'
import { type Resolution, resolveSource } from './source.ts'
import { fingerprint, promotion, proposal, refusalByPod, repair, type Transition, withdrawal } from './transitions.ts'
import { watchLeft, watchSeconds } from './watch.ts'

/**
 *   spec.source ── resolved ──▶ gates ── pass ──▶ candidate Switching ── every pod has it ──▶ active, previous, history
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

export interface Summary {
  readonly state: 'ready' | 'reconciling' | 'stalled'
  readonly reason: ReleaseReason
  readonly message: string
}

export function decide(release: Release, observed: Observed, settings: ServingSettings, now: Date): Decision {
  const decision = next(release, observed, settings, now)
  if (decision.kind !== 'rest' || isDrilling(release.status ?? {})) return decision
  const drill = drillStart(release, observed.pods, settings.trainerImage, decision.summary, now)
  return drill ? { kind: 'transition', transition: drill } : decision
}

function next(release: Release, observed: Observed, settings: ServingSettings, now: Date): Decision {
  const status = release.status ?? {}
  const resolution = resolveSource(release, observed.sources)
  const transition = nextTransition(release, status, resolution, observed, now)
  if (transition) return { kind: 'transition', transition }

  const desired = desiredOf(status)
  if (!desired) {
    const idle = observed.children.filter(({ kind }) => kind === 'Deployment')
    if (idle.length > 0) return { kind: 'retire', objects: idle }
    return { kind: 'rest', ...standing(release, resolution, now) }
  }
  return serve(release, desired, resolution, observed, settings, now)
}

/** A step that needs nothing but a new status. */
function nextTransition(
  release: Release,
  status: Status,
  resolution: Resolution,
  observed: Observed,
  now: Date,
): Transition | undefined {
  const { pods } = observed
  const first = repair(status, pods) ?? drillInterrupted(release, resolution)
  if (first) return first
  const back = isDrilling(status) ? undefined : goingBack(release, pods, now)
  if (back) return back
  const isFinal = status.verdict?.state === 'RolledBack' || status.verdict?.state === 'Regressed'
  if (resolution.kind !== 'resolved') return isFinal ? undefined : withdrawal(status)
  const { adapter, pin } = resolution
  const pinned = pinning(status, pin)
  const step = sameAdapter(adapter, status.active)
    ? served(release, adapter)
    : (proposal(release, adapter, pods, now) ?? refusalByPod(status, pods))
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
  settings: ServingSettings,
  now: Date,
): Decision {
  const status = release.status ?? {}
  const claimName = release.spec.storage.claimName
  if (!claim)
    return rest(
      'reconciling',
      ReleaseReason.ClaimNotFound,
      `spec.storage.claimName: claim ${claimName} does not exist`,
      60,
    )
  const sharing = sharingOf(claim)
  if (sharing === 'onePod')
    return rest(
      'stalled',
      ReleaseReason.StorageNotShared,
      `claim ${claimName} is ${claim.accessModes.join(', ')}; expected ReadWriteMany or ReadWriteOnce`,
    )

  const target = deploymentName(release, desired, settings.trainerImage)
  const wanted = servingObjects(release, {
    deployment: target,
    adapter: desired,
    serviceTo: status.deployment ?? target,
    claim: { name: claim.name, singleNode: sharing === 'oneNode' },
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
  const has = (pod: ServingPod) => agrees(pod, desired) || (isSettled && !drills && agreedBefore(pod, desired, status))
  const behind = theirs.filter((pod) => pod.ip && !has(pod) && (pod.state?.generation ?? 0) < desired.generation)
  const uncalled = behind.filter(({ uid }) => !asked.called.has(callKey(uid, desired.generation)))
  if (uncalled.length > 0) {
    const underLoad = drills ? theirs.filter(({ ip }) => ip) : []
    return { kind: 'activate', pods: uncalled, desired: desiredAdapter(release, desired), underLoad }
  }

  const inTheWay = obstacle(find(children, 'Deployment', target), theirs, desired, has)
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

  const isSilent = theirs.some((pod) => !pod.state)
  const { summary, seconds } = standing(release, resolution, now)
  const left = watchLeft(release, now)
  const waits = [seconds, isSilent ? silenceSeconds : undefined, left && Math.min(left, watchSeconds)]
  const soonest = Math.min(...waits.filter((wait) => wait !== undefined))
  return { kind: 'rest', summary, ...(Number.isFinite(soonest) && { seconds: soonest }) }
}

/** A pod that did not answer is asked again after this time. */
const silenceSeconds = 3
/** Evidence that could not be measured is looked for again after this time. */
const evidenceSeconds = 60

/** How things stand once nothing more can be done: what serves is right, or why what spec.source asks for does not serve. */
function standing(release: Release, resolution: Resolution, now: Date): { summary: Summary; seconds?: number } {
  const { active, candidate, verdict } = release.status ?? {}
  const serving = active ? `; ${nameOf(active)} serves` : ''
  if (resolution.kind !== 'resolved') {
    const state = resolution.kind === 'waiting' ? 'reconciling' : 'stalled'
    return { summary: { state, reason: resolution.reason, message: `${resolution.message}${serving}` } }
  }
  if (verdict?.state === 'Refused' && candidate)
    return {
      summary: {
        state: 'stalled',
        reason: (verdict.reason ?? ReleaseReason.GateFailed) as ReleaseReason,
        message: `${nameOf(candidate)} was refused: ${verdict.message}${serving}`,
      },
    }
  if (candidate && (verdict?.state === 'RolledBack' || verdict?.state === 'Regressed')) {
    const rolledBack = verdict.state === 'RolledBack'
    const reason = rolledBack ? ReleaseReason.RolledBack : ReleaseReason.Regressed
    const message = `${nameOf(candidate)} ${rolledBack ? 'was rolled back' : 'regressed'}: ${verdict.message}${serving}`
    return { summary: { state: 'stalled', reason, message } }
  }
  if (verdict?.state === 'Held' && candidate) {
    const reason = verdict.reason as ReleaseReason
    const message = `${nameOf(candidate)} is held: ${verdict.message}${serving}`
    const seconds = reason === ReleaseReason.GateError ? evidenceSeconds : waitsFor(release, now)
    return { summary: { state: 'reconciling', reason, message }, ...(seconds !== undefined && { seconds }) }
  }
  return {
    summary: {
      state: 'ready',
      reason: ReleaseReason.Serving,
      message: active ? `every pod answers with ${nameOf(active)}` : 'nothing serves',
    },
  }
}

function rest(state: Summary['state'], reason: ReleaseReason, message: string, seconds?: number): Decision {
  return { kind: 'rest', summary: { state, reason, message }, ...(seconds !== undefined && { seconds }) }
}

function find(children: readonly KubeObject[], kind: string, name: string): KubeObject | undefined {
  return children.find((child) => child.kind === kind && child.metadata.name === name)
}
