import type { Cluster, KubeObject } from '../kube/cluster.ts'
import { type Condition, findCondition } from '../kube/conditions.ts'

interface WithConditions extends KubeObject {
  status?: { readonly conditions?: readonly Condition[] }
}

/** Conditions whose change of reason is told as an Event. */
const told = ['Ready', 'Healthy', 'Tracked'] as const

/** Writes the status, and says it as an Event when the reason for being Ready, Healthy or Tracked, or not, has changed. */
export async function record<T extends WithConditions>(cluster: Cluster, object: T, status: T['status']): Promise<T> {
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
