import type { AdapterRelease, AdapterReleaseStatus } from '../api/generated/adapterrelease.ts'

export type Status = AdapterReleaseStatus
/** An adapter, or the untouched base, with everything needed to serve it again after its run is gone. */
export type Adapter = NonNullable<Status['active']>
export type Verdict = NonNullable<Status['verdict']>
export type Resolved = NonNullable<Status['resolved']>

/** Digest of the untouched base, in status and on the wire. */
export const baseDigest = ''

/** Whether switching from one to the other changes nothing. The base of two models is two things. */
export function sameAdapter(a: Adapter | undefined, b: Adapter | undefined): boolean {
  if (!a || !b || a.digest !== b.digest) return false
  return a.digest !== baseDigest || a.model?.digest === b.model?.digest
}

/** Everything this release has served, newest first. */
export function served(status: Status | undefined): readonly Adapter[] {
  return status?.history ?? []
}

/** What the pods are to have loaded: the candidate while it is being switched to, else what is active. */
export function desiredOf(status: Status | undefined): Adapter | undefined {
  return status?.verdict?.state === 'Switching' ? status.candidate : status?.active
}

/** How people read an adapter in a sentence. */
export function nameOf({ name, digest }: Adapter): string {
  return digest === baseDigest || name === digest ? name : `${name} (${digest.slice(0, 19)}…)`
}

/** Name of the Service, and of the release in /v1/models unless the spec gives another. */
export function modelNameOf({ metadata, spec }: AdapterRelease): string {
  return spec.serving.modelName ?? metadata.name
}

/** Most that status.history may hold: at most 20 entries and 32 KiB, so that the object stays far below 64 KiB. */
export function withinBounds(history: readonly Adapter[]): Adapter[] {
  const kept = history.slice(0, 20)
  while (kept.length > 2 && JSON.stringify(kept).length > 32_768) kept.pop()
  return kept
}
