import { WorkloadReason } from '../api/workload-reasons.ts'
import type { Cluster, KubeObject, ObjectRef } from '../kube/cluster.ts'
import { Conflict, Forbidden, Invalid } from '../kube/errors.ts'
import type { Job } from './attempt-state.ts'
import type { ClaimState } from './claim.ts'
import { newClaim, type StorageSettings } from './claim.ts'
import { childSelector, isOwnedBy, type Owner } from './names.ts'
import type { Pod } from './pod-state.ts'

/** Why a child could not be made, as a decision that waits or stalls. */
export type Refusal =
  | { readonly kind: 'wait'; readonly reason: WorkloadReason; readonly message: string; readonly seconds: number }
  | { readonly kind: 'stall'; readonly reason: WorkloadReason; readonly message: string }

const CONFLICT_SECONDS = 30
const REFUSED_SECONDS = 60

const refOf = ({ apiVersion, kind, metadata }: KubeObject): ObjectRef => ({
  apiVersion,
  kind,
  namespace: metadata.namespace ?? '',
  name: metadata.name,
})

/** Own Jobs and pods, read live: a cache could hide the pod that still writes. */
export async function readWork(cluster: Cluster, owner: Owner): Promise<{ jobs: Job[]; pods: Pod[] }> {
  const [jobs, pods] = await Promise.all([
    cluster.list<Job>({ apiVersion: 'batch/v1', kind: 'Job' }, owner.namespace, childSelector(owner)),
    cluster.list<Pod>({ apiVersion: 'v1', kind: 'Pod' }, owner.namespace, childSelector(owner)),
  ])
  return { jobs, pods }
}

export async function readClaim(cluster: Cluster, namespace: string, name: string): Promise<ClaimState | undefined> {
  const claim = await cluster.get<KubeObject & { spec?: { accessModes?: string[] }; status?: { phase?: string } }>({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    namespace,
    name,
  })
  return claim && { name, accessModes: claim.spec?.accessModes ?? [], phase: claim.status?.phase }
}

export async function makeClaim(
  cluster: Cluster,
  namespace: string,
  name: string,
  settings: StorageSettings,
): Promise<Refusal | undefined> {
  try {
    await cluster.create(newClaim(namespace, name, settings))
    return undefined
  } catch (error) {
    if (!(error instanceof Invalid || error instanceof Forbidden)) throw error
    // Whatever is wrong with the chart's values, a claim that somebody makes by hand cures it.
    const reason = error instanceof Invalid ? WorkloadReason.ClaimInvalid : WorkloadReason.Forbidden
    return {
      kind: 'wait',
      reason,
      message: `PersistentVolumeClaim ${name}: ${error.message}`,
      seconds: REFUSED_SECONDS,
    }
  }
}

/**
 * Makes the children of one attempt, in order. A child that is there already is ours from before a crash, or somebody
 * else's. `owner` must be the object as last written: anything newer means that the decision is stale, and nothing is made.
 */
export async function makeChildren(
  cluster: Cluster,
  owner: KubeObject,
  children: readonly KubeObject[],
): Promise<Refusal | undefined> {
  const live = await cluster.get(refOf(owner))
  if (live?.metadata.resourceVersion !== owner.metadata.resourceVersion || live?.metadata.deletionTimestamp)
    throw new Conflict(409, `${owner.kind} ${owner.metadata.name} has changed since it was read; nothing was made`)
  for (const child of children) {
    const refusal = await make(cluster, owner, child)
    if (refusal) return refusal
  }
  return undefined
}

/** Looks before it writes: an operator that dies after every write must not spend each of its lives on a child that is there. */
async function make(cluster: Cluster, owner: KubeObject, child: KubeObject): Promise<Refusal | undefined> {
  const name = `${child.kind} ${child.metadata.name}`
  if (await isThere(cluster, owner, child)) return undefined
  try {
    if ((await cluster.create(child)) === 'created') return undefined
  } catch (error) {
    if (error instanceof Invalid)
      return { kind: 'stall', reason: WorkloadReason.PodInvalid, message: `${name}: ${error.message}` }
    if (error instanceof Forbidden)
      return {
        kind: 'wait',
        reason: WorkloadReason.Forbidden,
        message: `${name}: ${error.message}`,
        seconds: REFUSED_SECONDS,
      }
    throw error
  }
  if (await isThere(cluster, owner, child)) return undefined
  const message = `${name} exists and does not belong to this ${owner.kind}`
  return { kind: 'wait', reason: WorkloadReason.NameConflict, message, seconds: CONFLICT_SECONDS }
}

async function isThere(cluster: Cluster, owner: KubeObject, child: KubeObject): Promise<boolean> {
  const there = await cluster.get(refOf(child))
  return there !== undefined && isOwnedBy(there, owner.metadata.uid) && !there.metadata.deletionTimestamp
}

/** Deletes Jobs; their pods get SIGTERM and the time of their grace period. */
export async function deleteJobs(
  cluster: Cluster,
  namespace: string,
  jobs: readonly { readonly name: string; readonly uid: string }[],
): Promise<void> {
  for (const { name, uid } of jobs)
    await cluster.delete(
      { apiVersion: 'batch/v1', kind: 'Job', namespace, name },
      { uid, propagationPolicy: 'Background' },
    )
}
