import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Logger } from 'pino'
import { syncDirectory } from '../storage/atomic.ts'
import { digestOf, hexOf, sha256File } from '../storage/digest.ts'
import { SealBroken, seal, verifySealed } from '../storage/sealed.ts'
import type { LocatedSource } from './locate.ts'
import type { Settings } from './settings.ts'
import type { WorkFolder } from './work-folder.ts'

/** Raised when stages of an older image must not be taken for those of this one. */
const VERSION = 7

/** Stages of a preparation that are finished: sealed folders that the next attempt finds, until the dataset itself is sealed. */
export interface Stages {
  /**
   * The folder of a stage: what an earlier attempt sealed, or what `make` writes into a new one. A damaged one is made again.
   */
  once(name: string, make: (folder: string) => Promise<void>): Promise<string>
}

/**
 * Those of one spec over the same bytes. What was sealed under another key is removed. Only for the holder of the dataset's lock; a stage
 * is made in the attempt's own folder, so one that lost the lock writes nothing here but a whole stage.
 */
export async function openStages(work: WorkFolder, key: string, log: Logger): Promise<Stages> {
  const folder = join(work.stages, hexOf(key).slice(0, 16))
  for (const name of await readdir(work.stages).catch(() => []))
    if (join(work.stages, name) !== folder) await rm(join(work.stages, name), { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  return {
    async once(name, make) {
      const sealed = join(folder, name)
      if (await isWhole(sealed, key, log)) {
        log.info({ stage: name }, 'an earlier attempt finished it')
        return sealed
      }
      const making = join(work.attempt, name)
      await mkdir(making)
      await make(making)
      await seal(making, key)
      await rm(sealed, { recursive: true, force: true })
      await rename(making, sealed)
      await syncDirectory(dirname(sealed))
      return sealed
    },
  }
}

async function isWhole(folder: string, key: string, log: Logger): Promise<boolean> {
  try {
    return (await verifySealed(folder)).digest === key
  } catch (error) {
    if (!(error instanceof SealBroken)) throw error
    if (await readdir(folder).catch(() => undefined)) log.warn({ folder, problem: error.message }, 'made again')
    return false
  }
}

async function sumOf(path: string, signal: AbortSignal): Promise<string> {
  try {
    return await sha256File(path, signal)
  } catch (error) {
    signal.throwIfAborted()
    throw error
  }
}

/** Of everything that the stages depend on: the spec as it was filled in, and the bytes of every file of every source. */
export async function stagesKey(
  { cleaning, deduplication, decontamination, split, format, specHash }: Settings,
  located: readonly LocatedSource[],
  signal: AbortSignal,
): Promise<string> {
  const { ngramWords = 0, sources: sets = [] } = decontamination ?? {}
  const sources = []
  for (const { texts, location: _, limit, ...source } of located) {
    const files = []
    for (const { path, format, sha256 = await sumOf(path, signal) } of texts) files.push({ path, format, sha256 })
    sources.push({ ...source, limit: Number.isFinite(limit) ? limit : null, files })
  }
  const held = { ngramWords, sets: sets.length } // the last of the sources
  return digestOf({
    version: VERSION,
    specHash,
    cleaning,
    deduplication,
    decontamination: held,
    split,
    format,
    sources,
  })
}
