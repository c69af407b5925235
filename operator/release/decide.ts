import type { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import { ReleaseReason } from '../api/release-reasons.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { sharingOf } from '../workload/claim.ts'
import { type Adapter, desiredOf, nameOf, type Status, sameAdapter } from './adapter.ts'
import { callKey, type Observed, type ServingPod } from './observed.ts'
import { agrees, podTrouble, rolledOut } from './pods.ts'
import {
  deploymentName,
  desiredAdapter,
  type ServingSettings,
  servingLabel,
  servingObjects,
  upToDate,
} from './serving.ts'
import { type Resolution, resolveSource } from './source.ts'
import { promotion, proposal, refusalByPod, repair, type Transition, withdrawal } from './transitions.ts'

/**
 *   spec.source ── resolved ──▶ gates ── pass ──▶ candidate Switching ── every pod has it ──▶ active, previous, history
 *        │                        └─ refuse ─▶ candidate Refused ◀── a pod cannot load it ─┘
 *        └─ waiting, invalid: what is active serves on
 *
 * What is to serve goes into status first, then to the pods: desired.json always holds desiredOf(status), and a
 * candidate that is given up makes the active adapter come back under a higher generation.
 */
export type Decision =
  | { readonly kind: 'transition'; readonly transition: Transition }
  | { readonly kind: 'apply'; readonly objects: readonly KubeObject[] }
  | { readonly kind: 'activate'; readonly pods: readonly ServingPod[]; readonly desired: DesiredAdapter }
  | { readonly kind: 'retire'; readonly objects: readonly KubeObject[] }
  /** Nothing to do now. state and reason become Ready, Reconciling and Stalled; seconds: look again, at the latest. */
  | { readonly kind: 'rest'; readonly summary: Summary; readonly seconds?: number }

export interface Summary {
  readonly state: 'ready' | 'reconciling' | 'stalled'
  readonly reason: ReleaseReason
  readonly message: string
}

export function decide(release: AdapterRelease, observed: Observed, settings: ServingSettings, now: Date): Decision {
  const status = release.status ?? {}
  const resolution = resolveSource(release, observed.runs)
  const transition = nextTransition(release, status, resolution, observed)
  if (transition) return { kind: 'transition', transition }

  const desired = desiredOf(status)
  if (!desired) {
    const idle = observed.children.filter(({ kind }) => kind === 'Deployment')
    if (idle.length > 0) return { kind: 'retire', objects: idle }
    return { kind: 'rest', ...standing(status, resolution) }
  }
  return serve(release, desired, resolution, observed, settings, now)
}

/** A step that needs nothing but a new status. */
function nextTransition(
  release: AdapterRelease,
  status: Status,
  resolution: Resolution,
  observed: Observed,
): Transition | undefined {
  const repaired = repair(status, observed.pods)
  if (repaired) return repaired
  if (resolution.kind !== 'resolved') return withdrawal(status)
  const { adapter, pin } = resolution
  if (pin && pin.adapter.digest !== status.resolved?.adapter.digest) return { changes: { resolved: pin } }
  if (sameAdapter(adapter, status.active)) return withdrawal(status)
  return proposal(release, adapter) ?? refusalByPod(status, observed.pods)
}

function serve(
  release: AdapterRelease,
  desired: Adapter,
  resolution: Resolution,
  { children, claim, pods, called }: Observed,
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
  const stale = wanted.filter((object) => !upToDate(object, find(children, object)))
  if (stale.length > 0) return { kind: 'apply', objects: stale }

  // The Service leads to neither: it was told so above, or never did.
  const old = children.filter(({ metadata }) => {
    const deployment = metadata.labels?.[servingLabel]
    return deployment !== undefined && deployment !== target && deployment !== status.deployment
  })
  if (old.length > 0) return { kind: 'retire', objects: old }

  const theirs = pods.filter((pod) => pod.deployment === target && !pod.terminating)
  const told = desiredAdapter(desired)
  const behind = theirs.filter(
    (pod) => pod.ip && !agrees(pod, desired) && (pod.state?.generation ?? 0) < desired.generation,
  )
  const uncalled = behind.filter(({ uid }) => !called.has(callKey(uid, desired.generation)))
  if (uncalled.length > 0) return { kind: 'activate', pods: uncalled, desired: told }

  const waitsFor = whatIsMissing(children, target, theirs, desired)
  if (waitsFor) return waitsFor
  if (!sameAdapter(desired, status.active) || status.verdict?.state === 'Switching' || status.deployment !== target)
    return { kind: 'transition', transition: promotion(status, desired, target, now) }

  return { kind: 'rest', ...standing(status, resolution) }
}

/** Why the desired adapter does not answer everywhere yet; undefined when it does. */
function whatIsMissing(
  children: readonly KubeObject[],
  target: string,
  pods: readonly ServingPod[],
  desired: Adapter,
): Decision | undefined {
  const liar = pods.find((pod) => pod.state && pod.state.generation >= desired.generation && !agrees(pod, desired))
  if (liar)
    return rest(
      'reconciling',
      ReleaseReason.PodsDisagree,
      `pod ${liar.name} says it has ${liar.state?.digest || 'base'} at generation ${liar.state?.generation}, expected ${nameOf(desired)} at ${desired.generation}`,
      10,
    )
  const deployment = children.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === target)
  const trouble = podTrouble(pods)
  if (!rolledOut(deployment, pods)) {
    const reason = trouble?.kind === 'unschedulable' ? ReleaseReason.NoCapacity : ReleaseReason.PodsStarting
    return rest('reconciling', reason, trouble?.message ?? `waiting for the pods of ${target} to become ready`, 5)
  }
  const waiting = pods.filter((pod) => !agrees(pod, desired))
  if (waiting.length === 0) return undefined
  return rest(
    'reconciling',
    ReleaseReason.Switching,
    `${pods.length - waiting.length} of ${pods.length} pods have loaded ${nameOf(desired)}`,
    3,
  )
}

/** How things stand once nothing more can be done: what serves is right, or why what spec.source asks for does not serve. */
function standing(status: Status, resolution: Resolution): { summary: Summary; seconds?: number } {
  const { active, candidate, verdict } = status
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

function find(children: readonly KubeObject[], { kind, metadata }: KubeObject): KubeObject | undefined {
  return children.find((child) => child.kind === kind && child.metadata.name === metadata.name)
}
