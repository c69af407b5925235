import type { KubeObject } from '../kube/cluster.ts'
import type { Adapter } from './adapter.ts'
import type { ServingPod } from './observed.ts'

/** Whether the pod says it serves exactly this: digest and generation both, so that an old answer never counts. */
export function agrees({ state }: ServingPod, { digest, generation }: Adapter): boolean {
  return state !== undefined && state.digest === digest && state.generation === generation && state.loadedTime !== ''
}

interface DeploymentStatus {
  readonly observedGeneration?: number
  readonly replicas?: number
  readonly updatedReplicas?: number
}

/**
 * Whether the Deployment has as many pods as it should, all of its newest template and all ready. The pods themselves
 * are counted, not the Deployment's word for them; without an answer from its controller nothing is known.
 */
export function rolledOut(deployment: KubeObject | undefined, pods: readonly ServingPod[]): boolean {
  if (!deployment) return false
  const wanted = (deployment['spec'] as { replicas?: number } | undefined)?.replicas ?? 1
  const status = (deployment['status'] ?? {}) as DeploymentStatus
  const current = (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
  const oneTemplate = (status.updatedReplicas ?? 0) === wanted && (status.replicas ?? 0) === wanted
  return current && oneTemplate && pods.length === wanted && pods.every(({ ready }) => ready)
}

/** What keeps a pod from starting; a full cluster before anything else. */
export function podTrouble(pods: readonly ServingPod[]): ServingPod['trouble'] {
  const troubles = pods.flatMap(({ trouble }) => (trouble ? [trouble] : []))
  return troubles.find(({ kind }) => kind === 'unschedulable') ?? troubles[0]
}
