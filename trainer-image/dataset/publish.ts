import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory } from '../storage/atomic.ts'
import { digestOf, hexOf, sha256File } from '../storage/digest.ts'
import { claimFolder, keepOwners, type OwnerRecord } from '../storage/owners.ts'
import { SealBroken, seal, sumsOnly, verifySealed } from '../storage/sealed.ts'

/** What the digest of a dataset covers: what training and evaluation read. The reports beside it are about how it came to be. */
const covered = ['ai_inputs.parquet', 'dataset.json', 'train.parquet', 'validation.parquet'] as const

/** The digest of a folder whose covered files are finished. */
export async function digestOfRows(folder: string): Promise<string> {
  const sums = await Promise.all(covered.map(async (name) => [name, await sha256File(join(folder, name))] as const))
  return digestOf(Object.fromEntries(sums))
}

/**
 * Seals a finished folder and moves it to datasets/<hex of its digest>. Equal content that already lies there whole is left as it is;
 * a damaged one is replaced, and keeps its other owners.
 */
export async function publish(
  folder: string,
  dataDir: string,
  owner?: OwnerRecord,
): Promise<{ digest: string; location: string }> {
  const { digest } = await seal(folder, (files) => digestOf(sumsOnly(files, covered)))
  const location = `datasets/${hexOf(digest)}`
  const target = join(dataDir, location)
  await claimFolder(target, owner)
  if (await isWhole(target, digest)) await rm(folder, { recursive: true })
  else {
    await keepOwners(target, folder)
    await claimFolder(folder, owner)
    await rm(target, { recursive: true, force: true })
    await mkdir(join(dataDir, 'datasets'), { recursive: true })
    await rename(folder, target)
    await syncDirectory(join(dataDir, 'datasets'))
  }
  return { digest, location }
}

async function isWhole(folder: string, digest: string): Promise<boolean> {
  try {
    return (await verifySealed(folder)).digest === digest
  } catch (error) {
    if (error instanceof SealBroken || (error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
