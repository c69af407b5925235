import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import type { Canary } from '../evaluate/canary.ts'
import { type AdapterBase, adapterDigest } from '../storage/adapter-identity.ts'
import { isTemporary, isTemporaryOf, syncDirectory, temporaryName, writeFileAtomic } from '../storage/atomic.ts'
import { lockName } from '../storage/lock.ts'
import { type Manifest, manifestName, readManifest, SealBroken, seal, verifySealed } from '../storage/sealed.ts'
import type { Environment } from './run-config.ts'

/** What a checkpoint's manifest says beside its sums. */
export interface CheckpointFacts {
  readonly step: number
  readonly base: AdapterBase
  /** Absent when it was sealed by a stop or a request between two evaluations. */
  readonly evaluation: EvaluationResult | undefined
  /** Of the attempt that sealed it. */
  readonly environment: Environment
  /** Whether all steps up to this one are those of a run that was never interrupted. */
  readonly exact: boolean
  /** The date that the chat template was given; serving must give the same. */
  readonly templateDate: string
  /** What a serving pod must measure; absent when it was sealed in the seconds of a stop. */
  readonly canary?: Canary | undefined
}

/** A checkpoint folder whose manifest was written last and whose sums were checked. */
export interface SealedCheckpoint extends Pick<CheckpointFacts, 'step' | 'evaluation' | 'environment' | 'exact'> {
  readonly name: string
  /** The adapter's identity: no optimizer, no times. */
  readonly digest: string
  readonly directory: string
}

const nameOf = (step: number): string => `checkpoint-${step}`
/** Where the old one waits while a new one of its step takes its name; no temporary name, since it may have to go back. */
const asideOf = (name: string): string => `${name}.replaced`
const replacedBy = (aside: string): string | undefined => /^(checkpoint-\d{1,9})\.replaced$/.exec(aside)?.[1]
const stepOf = (name: string): number | undefined => {
  const digits = /^checkpoint-(\d{1,9})$/.exec(name)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

const fromManifest = (directory: string, step: number, manifest: Manifest): SealedCheckpoint => ({
  name: nameOf(step),
  step,
  digest: manifest.digest,
  directory,
  evaluation: manifest.evaluation === undefined ? undefined : EvaluationResult.fromJSON(manifest.evaluation),
  environment: manifest.environment as Environment,
  exact: manifest.exact as boolean,
})

/**
 * Fills, seals and then names checkpoint-<step>: the name never stands for a folder that is not whole, and a checkpoint
 * of the same step (its evaluation was still missing) is gone only when the new one has its name.
 */
export async function writeCheckpoint(
  runDirectory: string,
  facts: CheckpointFacts,
  fill: (directory: string) => Promise<void>,
): Promise<SealedCheckpoint> {
  const { step, base, evaluation, ...others } = facts
  const name = nameOf(step)
  const target = join(runDirectory, name)
  const staging = join(runDirectory, temporaryName(name))
  await mkdir(staging)
  let manifest: Manifest
  try {
    await fill(staging)
    const stated = { step, base, ...others, ...(evaluation && { evaluation: EvaluationResult.toJSON(evaluation) }) }
    manifest = await seal(staging, (files) => adapterDigest(files, base), stated)
    await replace(target, staging)
  } catch (error) {
    await rm(staging, { recursive: true, force: true })
    throw error
  }
  return fromManifest(target, step, manifest)
}

/** The evaluation as it now stands, in the manifest; the files and the digest over them are what they were. */
export async function recordEvaluation(
  checkpoint: SealedCheckpoint,
  evaluation: EvaluationResult,
): Promise<SealedCheckpoint> {
  const path = join(checkpoint.directory, manifestName)
  const manifest = await readManifest(checkpoint.directory)
  if (manifest === undefined) throw new SealBroken(`${path} is gone`)
  const changed = { ...manifest, evaluation: EvaluationResult.toJSON(evaluation) }
  await writeFileAtomic(path, `${JSON.stringify(changed, null, 2)}\n`)
  return { ...checkpoint, evaluation }
}

async function replace(target: string, staging: string): Promise<void> {
  const runDirectory = join(target, '..')
  const aside = asideOf(target)
  const replaces = await moved(target, aside)
  try {
    await rename(staging, target)
  } catch (error) {
    if (replaces) await rename(aside, target)
    throw error
  }
  await syncDirectory(runDirectory)
  if (replaces) await removeFolder(aside)
}

/** False when there was nothing to move. */
async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

/** Unseals by a rename first, so that a removal cut short leaves nothing that looks like a checkpoint. */
async function removeFolder(directory: string): Promise<void> {
  const condemned = join(directory, '..', temporaryName('removed'))
  if (await moved(directory, condemned)) await rm(condemned, { recursive: true, force: true })
}

export const removeCheckpoint = ({ directory }: SealedCheckpoint): Promise<void> => removeFolder(directory)

/**
 * All sealed checkpoints, oldest first. What an interrupted write left is removed, and so is a checkpoint that is
 * unsealed or whose bytes differ from its manifest; `onBroken` is told of the latter. One that was being replaced
 * comes back, unless the new one took its name.
 */
export async function findCheckpoints(
  runDirectory: string,
  onBroken: (name: string, why: string) => void,
): Promise<SealedCheckpoint[]> {
  const found = new Map<string, SealedCheckpoint>()
  const examine = async (name: string): Promise<void> => {
    const step = stepOf(name)
    if (step === undefined) return
    const directory = join(runDirectory, name)
    try {
      const manifest = await verifySealed(directory)
      if (manifest.step !== step) throw new SealBroken(`${directory}/${manifestName} is of step ${manifest.step}`)
      found.set(name, fromManifest(directory, step, manifest))
    } catch (error) {
      if (!(error instanceof SealBroken)) throw error
      onBroken(name, error.message)
      await removeFolder(directory)
    }
  }
  const names = await readdir(runDirectory)
  for (const name of names) {
    // Not the lock's: its next beat is such a file too, and this very pod may be writing it.
    if (isTemporary(name) && !isTemporaryOf(name, lockName))
      await rm(join(runDirectory, name), { recursive: true, force: true })
    await examine(name)
  }
  for (const name of names.flatMap((each) => replacedBy(each) ?? [])) {
    const aside = join(runDirectory, asideOf(name))
    if (found.has(name)) await removeFolder(aside)
    else if (await moved(aside, join(runDirectory, name))) await examine(name)
  }
  return [...found.values()].sort((a, b) => a.step - b.step)
}
