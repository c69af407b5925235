import type { ApiClient } from './client.ts'
import { NotFound } from './errors.ts'
import { pathOf } from './path.ts'

/** coordination.k8s.io/v1 Lease, in our words. */
export interface Lease {
  /** resourceVersion; empty: there is no Lease yet. */
  readonly version: string
  /** Empty: nobody. */
  readonly holder: string
  readonly durationSeconds: number
  readonly acquired: Date
  readonly renewed: Date
  readonly transitions: number
}

export interface LeaseStore {
  read(): Promise<Lease | undefined>
  /** Creates it (version empty) or replaces exactly the version that was read; otherwise throws Conflict or AlreadyExists. */
  write(lease: Lease): Promise<void>
  /** Shows that write() would be allowed, without writing: a follower must not learn that only when its leader dies. */
  proveWritable(lease: Lease): Promise<void>
}

interface LeaseObject {
  readonly metadata: { readonly resourceVersion: string }
  readonly spec: {
    readonly holderIdentity?: string
    readonly leaseDurationSeconds?: number
    readonly acquireTime?: string
    readonly renewTime?: string
    readonly leaseTransitions?: number
  }
}

/** metav1.MicroTime: the API server refuses any other number of digits than six. */
const microTime = (at: Date): string => at.toISOString().replace('Z', '000Z')

/** timeoutMs bounds reads as well as writes. */
export function leaseStore(client: ApiClient, namespace: string, name: string, timeoutMs: number): LeaseStore {
  const collection = pathOf('coordination.k8s.io/v1', 'leases', namespace)
  const path = `${collection}/${name}`
  const objectOf = (lease: Lease) => ({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, namespace, ...(lease.version && { resourceVersion: lease.version }) },
    spec: {
      holderIdentity: lease.holder,
      leaseDurationSeconds: lease.durationSeconds,
      acquireTime: microTime(lease.acquired),
      renewTime: microTime(lease.renewed),
      leaseTransitions: lease.transitions,
    },
  })
  return {
    async read() {
      try {
        const { metadata, spec } = await client.request<LeaseObject>('GET', path, { timeoutMs })
        return {
          version: metadata.resourceVersion,
          holder: spec.holderIdentity ?? '',
          durationSeconds: spec.leaseDurationSeconds ?? 0,
          acquired: new Date(spec.acquireTime ?? 0),
          renewed: new Date(spec.renewTime ?? 0),
          transitions: spec.leaseTransitions ?? 0,
        }
      } catch (error) {
        if (error instanceof NotFound) return undefined
        throw error
      }
    },
    async write(lease) {
      const body = objectOf(lease)
      if (lease.version) await client.request('PUT', path, { body, timeoutMs })
      else await client.request('POST', collection, { body, timeoutMs })
    },
    async proveWritable(lease) {
      await client.request('PUT', path, { body: objectOf(lease), query: { dryRun: 'All' }, timeoutMs })
    },
  }
}
