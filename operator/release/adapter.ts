import type { AdapterReleaseSpec, AdapterReleaseStatus } from '../api/generated/adapterrelease.ts'
import type { KubeObject } from '../kube/cluster.ts'

type StoredAdapter = NonNullable<AdapterReleaseStatus['active']>
type StoredPin = NonNullable<AdapterReleaseStatus['resolved']>

/** Prompt of a dataset, without its name in status. */
export type Format = Omit<NonNullable<AdapterReleaseStatus['prompts']>[number], 'name'>

/** An adapter, or the untouched base, with everything needed to serve it again after its run is gone. */
export interface Adapter extends Omit<StoredAdapter, 'prompt'> {
  readonly format?: Format
  /** Only as stored (stored.ts). */
  readonly prompt?: never
}

/** What one word of one run was resolved to. */
export interface Resolved extends Omit<StoredPin, 'adapter'> {
  readonly adapter: Adapter
}

/** status as everything but stored.ts sees it: every adapter has its prompt with it. */
export interface Status
  extends Omit<AdapterReleaseStatus, 'active' | 'candidate' | 'previous' | 'history' | 'resolved' | 'prompts'> {
  active?: Adapter
  candidate?: Adapter
  previous?: Adapter
  history?: Adapter[]
  resolved?: Resolved
  prompts?: never
}

/** An AdapterRelease with such a status. */
export interface Release extends KubeObject {
  apiVersion: 'humanizer.dev/v1alpha1'
  kind: 'AdapterRelease'
  spec: AdapterReleaseSpec
  status?: Status
}

export type Verdict = NonNullable<Status['verdict']>

/** Digest of the untouched base, in status and on the wire. */
export const baseDigest = ''

/** Whether switching from one to the other changes nothing. The base of two models is two things, and so are two forms of an adapter. */
export function sameAdapter(a: Adapter | undefined, b: Adapter | undefined): boolean {
  if (!a || !b || a.digest !== b.digest || a.form !== b.form) return false
  return a.digest !== baseDigest || a.model?.digest === b.model?.digest
}

/** Everything this release has served, newest first. */
export function served(status: Status | undefined): readonly Adapter[] {
  return status?.history ?? []
}

/** What the pods are to have loaded: the candidate while it is being switched to, what a drill goes back to, else what is active. */
export function desiredOf(status: Status | undefined): Adapter | undefined {
  return status?.verdict?.state === 'Switching' ? status.candidate : (drilled(status) ?? status?.active)
}

/** What a rollback drill has put in the place of the active adapter; undefined while it has not. */
export function drilled({ drill, previous }: Status = {}): Adapter | undefined {
  if (drill?.state !== 'There' || !previous) return undefined
  return { ...asProposed(previous), generation: drill.generation ?? 0 }
}

/** Whether a rollback drill is under way. */
export const isDrilling = ({ drill }: Status): boolean => drill?.state === 'There' || drill?.state === 'Back'

/** Without the marks of an earlier switch. */
export function asProposed({
  activeSinceTime: _,
  leftTime: __,
  leftBecause: ___,
  wentBack: ____,
  regressed: _____,
  ...adapter
}: Adapter): Adapter {
  return { ...adapter, generation: 0 }
}

/** How people read an adapter in a sentence. */
export function nameOf({ name, digest, form }: Adapter): string {
  const merged = form === 'Merged' ? ', merged' : ''
  return digest === baseDigest || name === digest ? `${name}${merged}` : `${name} (${digest.slice(0, 19)}…${merged})`
}

/** Name of the Service, and of the release in /v1/models unless the spec gives another. */
export function modelNameOf({ metadata, spec }: Release): string {
  return spec.serving.modelName ?? metadata.name
}
