import type { Cluster, KubeObject } from '../kube/cluster.ts'
import { type Condition, findCondition } from '../kube/conditions.ts'

interface WithConditions extends KubeObject {
  status?: { readonly conditions?: readonly Condition[] }
}

/** Writes the status, and says it as an Event when the reason for being Ready or not has changed. */
export async function record<T extends WithConditions>(cluster: Cluster, object: T, status: T['status']): Promise<T> {
  const written = await cluster.writeStatus(object, status)
  const before = findCondition(object.status?.conditions, 'Ready')
  const after = findCondition(status?.conditions, 'Ready')
  if (after && after.reason !== before?.reason) {
    const bad = findCondition(status?.conditions, 'Stalled') !== undefined
    await cluster.event(written, bad ? 'Warning' : 'Normal', after.reason, after.message)
  }
  return written
}
