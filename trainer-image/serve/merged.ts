import { status } from '@grpc/grpc-js'
import type { DesiredAdapter, ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import { modelPath } from '../model/fetch.ts'
import { CallRefused } from '../service/errors.ts'
import { readManifest, SealBroken } from '../storage/sealed.ts'
import { prove } from './adapters.ts'
import type { Base } from './base.ts'
import type { LoadedAdapter } from './lease.ts'
import { nameDigest } from './switch.ts'

/**
 * Of a pod whose weights hold an adapter: that one digest serves, with nothing beside the weights; anything else is FAILED_PRECONDITION. That
 * the weights are those of config.model was proven when they were loaded; the manifest says which adapter is in them.
 */
export async function loadMerged(
  { model, mergedDigest }: ServeConfig,
  { digest }: DesiredAdapter,
  dataDir: string,
  base: Base,
  probe: number,
): Promise<LoadedAdapter> {
  if (digest !== mergedDigest)
    throw new CallRefused(
      status.FAILED_PRECONDITION,
      `this pod serves ${mergedDigest} merged into its weights, and can serve nothing else; it was asked for ${nameDigest(digest)}`,
    )
  const path = model?.path ?? ''
  const manifest = await readManifest(modelPath(dataDir, path))
  if (manifest?.adapter !== digest || manifest.digest !== base.identity.digest)
    throw new SealBroken(`${path} is not ${digest} merged into its base; its manifest says ${manifest?.adapter}`)
  await prove(base.model, undefined, probe)
  const { templateDate } = manifest
  return { adapter: undefined, ...(typeof templateDate === 'string' && { templateDate }) }
}
