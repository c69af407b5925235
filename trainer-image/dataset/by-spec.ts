import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { PreparationResult } from '#proto/humanizer/trainer/v1/preparation.ts'
import { writeFileAtomic } from '../storage/atomic.ts'
import { claimFolder, type OwnerRecord } from '../storage/owners.ts'
import { SealBroken, verifySealed } from '../storage/sealed.ts'

/*
 * datasets/by-spec/<hash>.json says which sealed folder a spec led to, with the result as it was reported. It is written after the
 * folder is sealed and is only a shortcut: without it the same dataset is prepared again.
 */

const pointerPath = (dataDir: string, specHash: string): string =>
  join(dataDir, 'datasets', 'by-spec', `${specHash.replace(/^sha256:/, '')}.json`)

/** The result for this spec when its folder is still whole, byte for byte; otherwise undefined, and the log says why. */
export async function findPrepared(
  dataDir: string,
  specHash: string,
  log: Logger,
  owner?: OwnerRecord,
): Promise<PreparationResult | undefined> {
  const path = pointerPath(dataDir, specHash)
  try {
    const result = PreparationResult.fromJSON(JSON.parse(await readFile(path, 'utf8')))
    await claimFolder(join(dataDir, result.location), owner)
    const manifest = await verifySealed(join(dataDir, result.location))
    if (manifest.digest === result.digest && result.specHash === specHash) return result
    log.warn(
      { path, digest: result.digest, found: manifest.digest },
      'pointer and sealed folder disagree; preparing again',
    )
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    if (!(error instanceof SealBroken) && !(error instanceof SyntaxError)) throw error
    log.warn({ path, problem: error.message }, 'what was prepared is damaged; preparing again')
  }
  return undefined
}

export async function recordPrepared(dataDir: string, result: PreparationResult): Promise<void> {
  const text = JSON.stringify(PreparationResult.toJSON(result), null, 2)
  await writeFileAtomic(pointerPath(dataDir, result.specHash), `${text}\n`)
}
