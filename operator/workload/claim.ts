import type { KubeObject } from '../kube/cluster.ts'
import { managedByLabel } from './names.ts'

/** The chart's answer to "which volume": used only when a namespace has no such claim yet. */
export interface StorageSettings {
  /** Absent means the cluster's default class. */
  readonly className?: string
  /** A quantity such as "20Gi". */
  readonly size: string
  readonly accessMode: string
}

/** A claim that exists, as far as scheduling must know it. */
export interface ClaimState {
  readonly name: string
  readonly accessModes: readonly string[]
  /** status.phase: Pending until there is a volume. */
  readonly phase?: string | undefined
}

/** Name of the claim when `spec.storage.claimName` does not give one. */
export const defaultClaimName = 'humanizer'

/** The namespace's claim. Owned by nobody and never deleted by the operator: it outlives every run. */
export function newClaim(namespace: string, name: string, settings: StorageSettings): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name, namespace, labels: { [managedByLabel]: 'humanizer' } },
    spec: {
      accessModes: [settings.accessMode],
      resources: { requests: { storage: settings.size } },
      ...(settings.className && { storageClassName: settings.className }),
    },
  }
}

/** What pods may do with the claim: be anywhere, be on one node, or (only one pod ever) nothing we can work with. */
export function sharingOf(claim: ClaimState): 'anyNode' | 'oneNode' | 'onePod' {
  if (claim.accessModes.includes('ReadWriteMany')) return 'anyNode'
  if (claim.accessModes.includes('ReadWriteOnce')) return 'oneNode'
  return 'onePod'
}
