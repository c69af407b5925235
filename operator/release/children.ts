import { ReleaseReason } from '../api/release-reasons.ts'
import type { Cluster, KubeObject, ObjectRef } from '../kube/cluster.ts'
import { Conflict, Forbidden, Invalid } from '../kube/errors.ts'
import type { Refusal as JobRefusal } from '../workload/children.ts'
import { isOwnedBy } from '../workload/names.ts'
import type { Release } from './adapter.ts'
import type { Summary } from './decide.ts'

/** Why a child could not be made or removed: how the release stands, and in how many seconds to try again. */
export interface Refusal {
  readonly summary: Summary
  /** Absent: not before something changes. */
  readonly seconds?: number
}

const refusedSeconds = 60

const refOf = ({ apiVersion, kind, metadata: { name, namespace = '' } }: KubeObject): ObjectRef => ({
  apiVersion,
  kind,
  name,
  namespace,
})

/** Applies in order. `release` must be the object as last written; anything newer means that the decision is stale. */
export async function applyChildren(
  cluster: Cluster,
  release: Release,
  objects: readonly KubeObject[],
): Promise<Refusal | undefined> {
  await assertNewest(cluster, release)
  for (const object of objects) {
    const found = await cluster.get(refOf(object))
    if (found && !isOwnedBy(found, release.metadata.uid)) return nameConflict(object)
    const refusal = await refusalOf(object, () => cluster.apply(object))
    if (refusal) return refusal
  }
  return undefined
}

/** As applyChildren; an object that is gone already is a success. */
export async function retireChildren(
  cluster: Cluster,
  release: Release,
  objects: readonly KubeObject[],
): Promise<Refusal | undefined> {
  await assertNewest(cluster, release)
  for (const object of objects) {
    const uid = object.metadata.uid
    if (!uid) continue
    const options = { uid, propagationPolicy: 'Background' } as const
    const refusal = await refusalOf(object, () => cluster.delete(refOf(object), options))
    if (refusal) return refusal
  }
  return undefined
}

async function assertNewest(cluster: Cluster, release: Release): Promise<void> {
  const { name, resourceVersion } = release.metadata
  const live = await cluster.get(refOf(release))
  if (live?.metadata.resourceVersion !== resourceVersion || live?.metadata.deletionTimestamp)
    throw new Conflict(409, `AdapterRelease ${name} has changed since it was read; nothing was done`)
}

async function refusalOf({ kind, metadata }: KubeObject, write: () => Promise<unknown>): Promise<Refusal | undefined> {
  try {
    await write()
    return undefined
  } catch (error) {
    const message = `${kind} ${metadata.name}: ${(error as Error).message}`
    if (error instanceof Invalid) return { summary: { state: 'stalled', reason: ReleaseReason.PodInvalid, message } }
    if (error instanceof Forbidden)
      return { summary: { state: 'reconciling', reason: ReleaseReason.Forbidden, message }, seconds: refusedSeconds }
    throw error
  }
}

export function nameConflict({ kind, metadata }: KubeObject): Refusal {
  const message = `${kind} ${metadata.name} exists and is not of this release; expected it not to exist`
  return { summary: { state: 'reconciling', reason: ReleaseReason.NameConflict, message }, seconds: refusedSeconds }
}

/** The same words for a Job that could not be made; it is only made in the ways of workload/children.ts. */
export function jobRefused(refusal: JobRefusal): Refusal {
  const { message } = refusal
  const reason = refusal.reason as ReleaseReason
  if (refusal.kind === 'stall') return { summary: { state: 'stalled', reason, message } }
  return { summary: { state: 'reconciling', reason, message }, seconds: refusal.seconds }
}
