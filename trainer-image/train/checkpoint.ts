import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import { type AdapterBase, adapterDigest } from '../storage/adapter-identity.ts'
import { isTemporary, isTemporaryOf, syncDirectory, temporaryName } from '../storage/atomic.ts'
import { lockName } from '../storage/lock.ts'
import { type Manifest, manifestName, SealBroken, seal, verifySealed } from '../storage/sealed.ts'

/** A checkpoint folder whose manifest was written last and whose sums were checked. */
export interface SealedCheckpoint {
  readonly name: string
  readonly step: number
  /** The adapter's identity: no optimizer, no times. */
  readonly digest: string
  readonly directory: string
  /** Absent when it was sealed by a stop or a request between two evaluations. */
  readonly evaluation: EvaluationResult | undefined
}

const stepOf = (name: string): number | undefined => {
  const digits = /^checkpoint-(\d{1,9})$/.exec(name)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

const fromManifest = (directory: string, name: string, step: number, manifest: Manifest): SealedCheckpoint => ({
  name,
  step,
  digest: manifest.digest,
  directory,
  evaluation: manifest.evaluation === undefined ? undefined : EvaluationResult.fromJSON(manifest.evaluation),
})

/**
 * Fills, seals and then names checkpoint-<step>: the name never stands for a folder that is not whole. A checkpoint of
 * the same step is replaced (its evaluation was still missing).
 */
export async function writeCheckpoint(
  runDirectory: string,
  step: number,
  base: AdapterBase,
  evaluation: EvaluationResult | undefined,
  fill: (directory: string) => Promise<void>,
): Promise<SealedCheckpoint> {
  const name = `checkpoint-${step}`
  const target = join(runDirectory, name)
  const staging = join(runDirectory, temporaryName(name))
  await mkdir(staging)
  let manifest: Manifest
  try {
    await fill(staging)
    const facts = { step, base, ...(evaluation && { evaluation: EvaluationResult.toJSON(evaluation) }) }
    manifest = await seal(staging, (files) => adapterDigest(files, base), facts)
    await removeFolder(target)
    await rename(staging, target)
  } catch (error) {
    await rm(staging, { recursive: true, force: true })
    throw error
  }
  await syncDirectory(runDirectory)
  return fromManifest(target, name, step, manifest)
}

/** Unseals by a rename first, so that a removal cut short leaves nothing that looks like a checkpoint. */
async function removeFolder(directory: string): Promise<void> {
  const condemned = join(directory, '..', temporaryName('removed'))
  try {
    await rename(directory, condemned)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  await rm(condemned, { recursive: true, force: true })
}

export const removeCheckpoint = ({ directory }: SealedCheckpoint): Promise<void> => removeFolder(directory)

/**
 * All sealed checkpoints, oldest first. What an interrupted write left is removed, and so is a checkpoint that is
 * unsealed or whose bytes differ from its manifest; `onBroken` is told of the latter.
 */
export async function findCheckpoints(
  runDirectory: string,
  onBroken: (name: string, why: string) => void,
): Promise<SealedCheckpoint[]> {
  const found: SealedCheckpoint[] = []
  for (const { name } of await readdir(runDirectory, { withFileTypes: true })) {
    const directory = join(runDirectory, name)
    // Not the lock's: its next beat is such a file too, and this very pod may be writing it.
    if (isTemporary(name) && !isTemporaryOf(name, lockName)) await rm(directory, { recursive: true, force: true })
    const step = stepOf(name)
    if (step === undefined) continue
    try {
      const manifest = await verifySealed(directory)
      if (manifest.step !== step) throw new SealBroken(`${directory}/${manifestName} is of step ${manifest.step}`)
      found.push(fromManifest(directory, name, step, manifest))
    } catch (error) {
      if (!(error instanceof SealBroken)) throw error
      onBroken(name, error.message)
      await removeFolder(directory)
    }
  }
  return found.sort((a, b) => a.step - b.step)
}
