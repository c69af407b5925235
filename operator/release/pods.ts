import type { KubeObject } from '../kube/cluster.ts'
import type { Adapter, Status } from './adapter.ts'
import type { ServingPod } from './observed.ts'
import type { Split } from './steps.ts'

type PodStatus = NonNullable<Status['pods']>[number]

/** Whether the pod says it serves exactly this: digest, generation and split, so that an old answer never counts. */
export function agrees({ state }: ServingPod, { digest, generation }: Adapter, split: Split | undefined): boolean {
  if (!state || state.digest !== digest || state.generation !== generation || state.loadedTime === '') return false
  return state.splitPercent === (split?.percent ?? 0) && state.splitDigest === (split?.adapter.digest ?? '')
}

/**
 * What status is to say of the pod. Silence is no measurement: a pod that is Ready and whose container is the same keeps
 * what it last said, since the kubelet asks the same page that we do.
 */
export function recordOf({ name, uid, ready, restarts, state, doubt }: ServingPod, status: Status): PodStatus {
  if (doubt) return { name, uid, restarts }
  if (!state) {
    const before = status.pods?.find((each) => each.uid === uid)
    if (before && ready && before.restarts === restarts) return before
    return { name, uid, restarts }
  }
  const { digest, generation, loadedTime } = state
  return { name, uid, restarts, ...(loadedTime !== '' && { digest, generation, loadedTime }) }
}

/** Whether a silent pod is known to have loaded this before it fell silent. */
export function agreedBefore(pod: ServingPod, { digest, generation }: Adapter, status: Status): boolean {
  if (pod.state || pod.doubt) return false
  const record = recordOf(pod, status)
  return record.digest === digest && record.generation === generation
}

interface DeploymentStatus {
  readonly observedGeneration?: number
  readonly replicas?: number
  readonly updatedReplicas?: number
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[]
}

const statusOf = (deployment: KubeObject | undefined): DeploymentStatus =>
  (deployment?.['status'] ?? {}) as DeploymentStatus

/**
 * Whether the Deployment has as many pods as it should, all of its newest template and all ready. The pods themselves
 * are counted, not the Deployment's word for them; without an answer from its controller nothing is known.
 */
export function rolledOut(deployment: KubeObject | undefined, pods: readonly ServingPod[]): boolean {
  if (!deployment) return false
  const wanted = (deployment['spec'] as { replicas?: number } | undefined)?.replicas ?? 1
  const status = statusOf(deployment)
  const current = (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
  const oneTemplate = (status.updatedReplicas ?? 0) === wanted && (status.replicas ?? 0) === wanted
  return current && oneTemplate && pods.length === wanted && pods.every(({ ready }) => ready)
}

/** The API server's words when it refuses the Deployment's pods: quota or admission. */
export function podsRefused(deployment: KubeObject | undefined): string | undefined {
  const failure = statusOf(deployment).conditions?.find(
    ({ type, status }) => type === 'ReplicaFailure' && status === 'True',
  )
  return failure && `Deployment ${deployment?.metadata.name}: ${failure.message ?? 'its pods are refused'}`
}

/** What keeps a pod from starting; a full cluster before anything else. */
export function podTrouble(pods: readonly ServingPod[]): ServingPod['trouble'] {
  const troubles = pods.flatMap(({ trouble }) => (trouble ? [trouble] : []))
  return troubles.find(({ kind }) => kind === 'unschedulable') ?? troubles[0]
}
