import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import { ReleaseReason, ServingCondition } from '../api/release-reasons.ts'
import { readyFrom, setCondition } from '../kube/conditions.ts'
import { nameOf, type Status } from './adapter.ts'
import type { Summary } from './decide.ts'
import type { Observed, ServingPod } from './observed.ts'
import { deploymentName, endpointOf, labelSelector } from './serving.ts'
import type { Transition } from './transitions.ts'

/** The status that a transition leads to. Conditions follow once there is nothing more to do. */
export function afterTransition(status: Status | undefined, { changes }: Transition): Status {
  return withoutUndefined({ ...status, ...changes })
}

/** The whole status when there is nothing to do now. */
export function atRest(
  release: AdapterRelease,
  observed: Observed,
  summary: Summary,
  image: string,
  now: Date,
): Status {
  const generation = release.metadata.generation ?? 0
  const status = release.status ?? {}
  const live = observed.pods.filter(({ terminating }) => !terminating)
  const behindService = live.filter((pod) => pod.ready && pod.deployment === status.deployment)
  const conditions = readyFrom(status.conditions, summary, generation, now)
  const leadsTo = status.deployment ?? (status.active && deploymentName(release, status.active, image))
  return withoutUndefined({
    ...status,
    observedGeneration: generation,
    conditions: setCondition(
      conditions,
      { type: ServingCondition, observedGeneration: generation, ...answering(status, behindService) },
      now,
    ),
    pods: live
      .map(podStatus)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .slice(0, 64),
    endpoint: status.active ? endpointOf(release) : undefined,
    replicas: live.filter(({ deployment }) => deployment === leadsTo).length,
    selector: leadsTo && selectorText(labelSelector(release, leadsTo)),
  })
}

function answering({ active }: Status, ready: readonly ServingPod[]) {
  if (!active)
    return { status: 'False' as const, reason: ReleaseReason.PodsStarting, message: 'nothing has been released yet' }
  const answers = ready.filter(({ state }) => state?.digest === active.digest).length
  return answers > 0
    ? { status: 'True' as const, reason: ReleaseReason.Serving, message: `${nameOf(active)} answers` }
    : {
        status: 'False' as const,
        reason: ReleaseReason.PodsStarting,
        message: `no ready pod answers with ${nameOf(active)}`,
      }
}

function podStatus({ name, uid, restarts, state }: ServingPod): NonNullable<Status['pods']>[number] {
  const loaded = state !== undefined && state.loadedTime !== ''
  return { name, uid, restarts, ...(loaded && { digest: state.digest, loadedTime: state.loadedTime }) }
}

function selectorText(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
}

function withoutUndefined(status: { [Field in keyof Status]?: Status[Field] | undefined }): Status {
  return Object.fromEntries(Object.entries(status).filter(([, value]) => value !== undefined)) as Status
}
