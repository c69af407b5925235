import { createHash } from 'node:crypto'
import type { KubeObject, ObjectMeta } from './cluster.ts'
import { kubeTime } from './conditions.ts'

/** core/v1 Event. */
export interface KubeEvent extends KubeObject {
  metadata: ObjectMeta & { namespace: string }
  count: number
  message: string
  lastTimestamp: string
}

/**
 * The Event that says `reason` about `object`. Its name is fixed by (object, type, reason), so that saying it again
 * counts up the one Event instead of making another.
 */
export function eventOf(
  object: KubeObject,
  type: 'Normal' | 'Warning',
  reason: string,
  message: string,
  reporter: string,
  now: Date,
): KubeEvent {
  const { name, namespace = 'default', uid = '', resourceVersion = '' } = object.metadata
  const { apiVersion, kind } = object
  const key = createHash('sha256').update(`${uid}/${type}/${reason}`).digest('hex').slice(0, 16)
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: `${name}.${key}`, namespace },
    involvedObject: { apiVersion, kind, name, namespace, uid, resourceVersion },
    type,
    reason,
    message: message.slice(0, 1024),
    source: { component: 'humanizer' },
    reportingComponent: 'humanizer.dev/operator',
    reportingInstance: reporter,
    firstTimestamp: kubeTime(now),
    lastTimestamp: kubeTime(now),
    count: 1,
  }
}
