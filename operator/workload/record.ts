import { WorkloadReason } from '../api/workload-reasons.ts'
import type { Cluster, KubeObject } from '../kube/cluster.ts'
import { type Condition, findCondition, readyFrom } from '../kube/conditions.ts'
import { Invalid } from '../kube/errors.ts'

interface WithConditions extends KubeObject {
  status?: { readonly conditions?: readonly Condition[] }
}

/** Conditions whose change of reason is told as an Event. */
const told = ['Ready', 'Healthy', 'Tracked'] as const

/**
 * Writes the status, and says it as an Event when the reason for being Ready, Healthy or Tracked, or not, has changed. One that breaks the
 * schema, by something that a pod told, is said in its place and thrown: nothing is done by a status that does not stand.
 */
export async function record<T extends WithConditions>(cluster: Cluster, object: T, status: T['status']): Promise<T> {
  try {
    return await write(cluster, object, status)
  } catch (error) {
    if (error instanceof Invalid) await write(cluster, object, refused(object, error.message))
    throw error
  }
}

async function write<T extends WithConditions>(cluster: Cluster, object: T, status: T['status']): Promise<T> {
  const written = await cluster.writeStatus(object, status)
  for (const type of told) {
    const before = findCondition(object.status?.conditions, type)
    const after = findCondition(status?.conditions, type)
    if (!after || after.reason === before?.reason) continue
    const bad = type === 'Ready' ? findCondition(status?.conditions, 'Stalled') !== undefined : after.status === 'False'
    await cluster.event(written, bad ? 'Warning' : 'Normal', after.reason, after.message)
  }
  return written
}

function refused<T extends WithConditions>({ status, metadata: { generation = 0 } }: T, message: string): T['status'] {
  const summary = { state: 'reconciling', reason: WorkloadReason.StatusInvalid, message } as const
  return {
    ...status,
    observedGeneration: generation,
    conditions: readyFrom(status?.conditions, summary, generation, new Date()),
  } as T['status']
}
