import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { MergeConfig, MergeResult } from '#proto/humanizer/trainer/v1/merge.ts'
import type { JobContext } from '../job/context.ts'
import { JobFailure } from '../job/failure.ts'
import { modelPath } from '../model/fetch.ts'
import { adapterFolder, promote } from '../serve/adapters.ts'
import { claimFolder, ownerRecord } from '../storage/owners.ts'
import { type Manifest, readManifest, SealBroken, verifySealed } from '../storage/sealed.ts'
import { writeMergedModel } from './merged-model.ts'

/** Below the claim's root: merged/<digest hex>, each a plain Hugging Face folder. */
export const mergedParent = 'merged'

/**
 * The command `merge`: the adapter in its base's own weights, proven against the two. Idempotent: what is sealed already is read through and
 * told again, and what is damaged is made again.
 */
export async function merge(config: MergeConfig, { dataDir, log, signal }: JobContext): Promise<MergeResult> {
  const { model, digest, sourcePath } = config
  if (!model?.path)
    throw new JobFailure('ConfigurationInvalid', 'model.path is absent, expected the base of the adapter')
  const owner = ownerRecord(config.owner, config.reclaim)
  await promote(dataDir, { generation: 0, digest, sourcePath, format: undefined, warmSeconds: 0 }, owner)
  signal.throwIfAborted()
  const parent = join(dataDir, mergedParent)
  const manifest =
    (await found(parent, model.digest, digest)) ??
    (await writeMergedModel(modelPath(dataDir, model.path), adapterFolder(dataDir, digest), parent, signal))
  const path = `${mergedParent}/${manifest.digest.replace('sha256:', '')}`
  await claimFolder(join(dataDir, path), owner)
  log.info({ path, logitError: manifest.logitError, adapterEffect: manifest.adapterEffect }, 'merged')
  return {
    model: { path, digest: manifest.digest, revision: '', name: model.name },
    adapterDigest: digest,
    bytes: Object.values(manifest.files).reduce((sum, { bytes }) => sum + bytes, 0),
    logitError: Number(manifest.logitError),
    adapterEffect: Number(manifest.adapterEffect),
  }
}

/** A sealed merge of these two whose bytes are what its manifest says. */
async function found(parent: string, base: string, adapter: string): Promise<Manifest | undefined> {
  const names = await readdir(parent).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  for (const name of names.filter((each) => /^[0-9a-f]{64}$/.test(each))) {
    const folder = join(parent, name)
    try {
      const manifest = await readManifest(folder)
      if (manifest?.base === base && manifest.adapter === adapter) return await verifySealed(folder)
    } catch (error) {
      if (!(error instanceof SealBroken)) throw error
      await rm(folder, { recursive: true, force: true })
    }
  }
  return undefined
}
