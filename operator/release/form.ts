import { type Adapter, baseDigest, type Release, served } from './adapter.ts'
import type { Resolution } from './source.ts'

/*
 * Adapter: beside its base in memory, in pods that all adapters of that base share. Merged: written into the base's 16-bit weights by a Job
 * (merging.ts), in pods of its own; docs/adr/0011. The base has no form.
 */

export type Merged = NonNullable<Adapter['merged']>

/** What spec.source means, in the form that spec.form asks for. What was merged once is not merged again. */
export function inForm(release: Release, resolution: Resolution): Resolution {
  if (resolution.kind !== 'resolved') return resolution
  const { form: _, merged: __, ...adapter } = resolution.adapter
  if (release.spec.form !== 'Merged' || adapter.digest === baseDigest) return { ...resolution, adapter }
  const before = served(release.status).find(({ digest, merged }) => digest === adapter.digest && merged)
  return { ...resolution, adapter: { ...adapter, form: 'Merged', ...(before?.merged && { merged: before.merged }) } }
}

/** Whether a Job has to write it into weights before any pod can load it. */
export const needsMerge = ({ form, merged }: Adapter): boolean => form === 'Merged' && !merged

/** What the pods of an adapter load at their start. */
export interface Weights {
  readonly model?: Adapter['model']
  readonly quantization?: Adapter['quantization']
  /** The adapter that is in these weights; absent for a base. */
  readonly mergedDigest?: string
}

/** A merged model is served as it was rounded: quantising it again would be another model than the one that was proven. */
export function weightsOf({ model, quantization, merged, digest }: Adapter): Weights {
  if (!merged) return { ...(model && { model }), ...(quantization && { quantization }) }
  const { path, digest: mergedModel } = merged
  return {
    model: { path, digest: mergedModel, ...(model?.name && { name: model.name }) },
    quantization: { type: 'None', blockSize: 64, doubleQuantization: false, computeDType: 'Auto' },
    mergedDigest: digest,
  }
}
