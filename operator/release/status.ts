import { PushedCondition, ReleaseReason, ServingCondition } from '../api/release-reasons.ts'
import { type Condition, readyFrom, removeCondition, setCondition } from '../kube/conditions.ts'
import { drilled, nameOf, type Release, type Status } from './adapter.ts'
import { checklistOf } from './checklist.ts'
import type { Summary } from './decide.ts'
import { policyOf } from './gates.ts'
import type { Observed } from './observed.ts'
import { recordOf } from './pods.ts'
import { pushCondition } from './pushing.ts'
import { deploymentName, endpointOf, labelSelector } from './serving.ts'
import { cut, messageLimit } from './text.ts'
import type { Transition } from './transitions.ts'

/** The status that a transition leads to. Conditions follow once there is nothing more to do. */
export function afterTransition(status: Status | undefined, { changes }: Transition): Status {
  return withoutUndefined({ ...status, ...changes })
}

/** The whole status when there is nothing to do now. */
export function atRest(release: Release, observed: Observed, summary: Summary, image: string, now: Date): Status {
  const observedGeneration = release.metadata.generation ?? 0
  const status = release.status ?? {}
  const live = observed.pods.filter(({ terminating }) => !terminating)
  const records = live.map((pod) => recordOf(pod, status)).sort((a, b) => (a.name < b.name ? -1 : 1))
  const behindService = new Set(
    live.filter((pod) => pod.ready && pod.deployment === status.deployment).map(({ uid }) => uid),
  )
  const given = drilled(status) ?? status.active
  const answers = records.some(({ uid, digest }) => behindService.has(uid) && digest === given?.digest)
  const said = { ...summary, message: cut(summary.message, messageLimit) }
  const conditions = withPushed(
    readyFrom(status.conditions, said, observedGeneration, now),
    pushCondition(release, observed.push),
    observedGeneration,
    now,
  )
  const leadsTo = status.deployment ?? (status.active && deploymentName(release, status.active, image))
  return withoutUndefined({
    ...status,
    observedGeneration,
    conditions: setCondition(
      conditions,
      { type: ServingCondition, observedGeneration, ...answering(status, answers) },
      now,
    ),
    checklist: checklistOf(release, observed.sources.runs),
    pods: records.slice(0, 64),
    policy: release.spec.gates?.length ? policyOf(release.spec.gates) : undefined,
    endpoint: status.active ? endpointOf(release) : undefined,
    replicas: live.filter(({ deployment }) => deployment === leadsTo).length,
    selector: leadsTo && selectorText(labelSelector(release, leadsTo)),
  })
}

/** It stands only while there is something to push. */
const withPushed = (
  conditions: readonly Condition[],
  pushed: ReturnType<typeof pushCondition>,
  observedGeneration: number,
  now: Date,
): Condition[] =>
  pushed
    ? setCondition(conditions, { ...pushed, observedGeneration }, now)
    : removeCondition(conditions, PushedCondition)

function answering({ active }: Status, answers: boolean) {
  if (!active)
    return { status: 'False' as const, reason: ReleaseReason.PodsStarting, message: 'nothing has been released yet' }
  return answers
    ? { status: 'True' as const, reason: ReleaseReason.Serving, message: `${nameOf(active)} answers` }
    : {
        status: 'False' as const,
        reason: ReleaseReason.PodsStarting,
        message: `no ready pod answers with ${nameOf(active)}`,
      }
}

function selectorText(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
}

function withoutUndefined(status: { [Field in keyof Status]?: Status[Field] | undefined }): Status {
  return Object.fromEntries(Object.entries(status).filter(([, value]) => value !== undefined)) as Status
}
