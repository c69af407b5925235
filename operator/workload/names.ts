import type { KubeObject } from '../kube/cluster.ts'

/** The object that a child works for. */
export interface Owner {
  readonly apiVersion: string
  readonly kind: 'HumanizerDataset' | 'QLoRARun' | 'AdapterRelease'
  readonly namespace: string
  readonly name: string
  readonly uid: string
  /** The object's labels for Kueue; its children carry them. */
  readonly queueLabels: Record<string, string>
}

const ownerLabel = {
  HumanizerDataset: 'humanizer.dev/dataset',
  QLoRARun: 'humanizer.dev/run',
  AdapterRelease: 'humanizer.dev/release',
} as const

/** Carried by everything that the operator makes, except a claim, which is owned by nobody. */
export const managedByLabel = 'app.kubernetes.io/managed-by'
/** Owner's uid: tells children of an earlier object of the same name from our own. */
const uidLabel = 'humanizer.dev/uid'
/** Attempt that a Job, its ConfigMap and its pods belong to. */
export const attemptLabel = 'humanizer.dev/attempt'
/** A Job with this label waits for Kueue, which from then on owns its `suspend`. */
export const queueNameLabel = 'kueue.x-k8s.io/queue-name'
/** Claim mounted by a pod; affinity of a ReadWriteOnce claim's pods selects on it. */
export const claimLabel = 'humanizer.dev/claim'

/** The owner that children of an object of ours name. */
export function ownerOf(object: KubeObject & { kind: Owner['kind'] }): Owner {
  const { name, namespace = '', uid = '', labels } = object.metadata
  return { apiVersion: object.apiVersion, kind: object.kind, namespace, name, uid, queueLabels: queueLabels(labels) }
}

/** Those of the labels that speak to Kueue. */
export const queueLabels = (labels: Record<string, string> = {}): Record<string, string> =>
  Object.fromEntries(Object.entries(labels).filter(([key]) => key.startsWith('kueue.x-k8s.io/')))

/** Labels that lead from a child back to its owner. */
export function ownerLabels(owner: Owner): Record<string, string> {
  return { [managedByLabel]: 'humanizer', [ownerLabel[owner.kind]]: owner.name, [uidLabel]: owner.uid }
}

/** Selects every child of one object, and none of an earlier object of the same name. */
export function childSelector(owner: Owner): string {
  return `${managedByLabel}=humanizer,${uidLabel}=${owner.uid}`
}

/**
 * Metadata of a namespaced child. The reference does not block the owner's deletion: setting that needs a right on
 * the owner's finalizers, which the operator does not have.
 */
export function childMetadata(owner: Owner, name: string, labels: Record<string, string> = {}): KubeObject['metadata'] {
  return {
    name,
    namespace: owner.namespace,
    labels: { ...ownerLabels(owner), ...labels },
    ownerReferences: [
      { apiVersion: owner.apiVersion, kind: owner.kind, name: owner.name, uid: owner.uid, controller: true },
    ],
  }
}

/** Whether `child` belongs to this very owner, not to a namesake that was deleted or to somebody else. */
export function isOwnedBy(child: KubeObject, uid: string | undefined): boolean {
  return child.metadata.ownerReferences?.some((reference) => reference.uid === uid) ?? false
}
