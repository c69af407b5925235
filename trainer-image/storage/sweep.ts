import { randomUUID } from 'node:crypto'
import { readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Logger } from 'pino'
import type { Owner, Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'
import { abandonedAfter, lastTouched } from './age.ts'
import { isTemporary } from './atomic.ts'
import { lockName } from './lock.ts'
import { type OwnerRecord, ownersOf } from './owners.ts'
import { manifestName } from './sealed.ts'
import { sharedDownloads } from './shared-content.ts'

/*
 * Removes what deleted objects left on the claim (docs/adr/0006). A folder goes only when every owner that it names is
 * known to be gone and wanted its files deleted, and nothing that lives refers to it. In doubt it stays.
 */

/** The Job that sweeps, as its configuration has it. */
export interface SweepRequest {
  readonly owner: Owner | undefined
  readonly reclaim: Reclaim | undefined
}

export interface Swept {
  /** Of deleted owners; relative to the claim's root. */
  readonly removed: readonly string[]
  /** Leftovers of interrupted writes. */
  readonly leftovers: readonly string[]
}

/** Two API servers may date objects by clocks that differ by this much, in milliseconds. */
const CLOCK_MARGIN = 30_000
/** A writer that was told to stop may still be sealing, in milliseconds. */
const WRITER_LEAVES_AFTER = 600_000
/** Longer than any sweep holds a folder aside, in milliseconds. */
const SWEEP_INTERRUPTED_AFTER = 3_600_000

/** Of one sweep alone: two that meet never remove what the other has yet to judge. */
const asideName = (name: string): string => `.swept-${name}.${randomUUID()}`
const nameOfAside = (name: string): string | undefined => /^\.swept-(.+)\.[0-9a-f-]{36}$/.exec(name)?.[1]
const isHex = (name: string): boolean => /^[0-9a-f]{64}$/.test(name)

/** Sweeps the claim at `dataDir`. `now` is this machine's clock in milliseconds and only ever compared with files' times. */
export async function sweep(
  dataDir: string,
  { owner, reclaim }: SweepRequest,
  now: number,
  signal?: AbortSignal,
): Promise<Swept> {
  const removed: string[] = []
  const judge = judgeOf(owner, reclaim)
  if (judge)
    for (const parent of await parentsIn(dataDir, owner?.namespace ?? ''))
      for (const name of await namesIn(join(dataDir, parent))) {
        signal?.throwIfAborted()
        const gone = await sweepEntry(join(dataDir, parent), name, judge, now)
        if (gone) removed.push(join(parent, gone))
      }
  return { removed, leftovers: await sweepLeftovers(dataDir, now, signal) }
}

/** As sweep, at the start of a Job: whatever goes wrong is logged, and the Job goes on. */
export async function sweepFor(
  request: SweepRequest,
  { dataDir, signal, log }: { readonly dataDir: string; readonly signal: AbortSignal; readonly log: Logger },
): Promise<void> {
  try {
    const swept = await sweep(dataDir, request, Date.now(), signal)
    if (swept.removed.length + swept.leftovers.length > 0) log.info(swept, 'swept')
  } catch (error) {
    if (!signal.aborted) log.warn({ err: error }, 'cannot sweep; the files stay')
  }
}

/** Folders that hold swept folders: of all datasets, all adapters, all merged models, and the runs of the Job's own namespace. */
async function parentsIn(dataDir: string, namespace: string): Promise<string[]> {
  const runs = join('runs', namespace)
  const ofRuns = namespace === '' ? [] : (await namesIn(join(dataDir, runs))).map((name) => join(runs, name))
  return ['datasets', 'adapters', 'merged', ...ofRuns]
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Whether a folder of this name and these owners may go. */
type Judge = (name: string, owners: readonly OwnerRecord[]) => boolean

/** Nothing without a whole list of what lives. */
function judgeOf(owner: Owner | undefined, reclaim: Reclaim | undefined): Judge | undefined {
  const listedAfter = Date.parse(reclaim?.createdTime ?? '')
  if (!owner || !reclaim?.sweep || Number.isNaN(listedAfter)) return undefined
  const uids = new Set([owner.uid, ...reclaim.sweep.liveUids])
  const digests = new Set(reclaim.sweep.liveDigests)
  // An owner that is not in the list is gone only if it is older than the list; a Job may start long after it was made.
  const isGone = ({ uid, namespace, createdTime }: OwnerRecord): boolean =>
    namespace === owner.namespace && !uids.has(uid) && Date.parse(createdTime) + CLOCK_MARGIN < listedAfter
  return (name, owners) =>
    !uids.has(name) &&
    !digests.has(`sha256:${name}`) &&
    owners.length > 0 &&
    owners.every((record) => record.reclaimPolicy === 'Delete' && isGone(record))
}

/** Resolves the name of what was removed. */
async function sweepEntry(parent: string, entry: string, judge: Judge, now: number): Promise<string | undefined> {
  const interrupted = nameOfAside(entry)
  const name = interrupted ?? entry
  const folder = join(parent, entry)
  const goes = async (at: string): Promise<boolean> => {
    const owners = await ownersOf(at)
    return owners !== undefined && judge(name, owners) && !(await isWritten(at, now))
  }
  let aside = folder
  if (interrupted !== undefined) {
    if (now - (await changedAt(folder)) < SWEEP_INTERRUPTED_AFTER) return undefined
  } else {
    if (!(await goes(folder))) return undefined
    // Taken aside first: whoever claims it from now on makes another one, whoever claimed it before is found below.
    aside = join(parent, asideName(name))
    if (!(await moved(folder, aside))) return undefined
  }
  if (await goes(aside)) {
    await rm(aside, { recursive: true, force: true })
    return name
  }
  // Where somebody made the same content again meanwhile, that stays, and nothing is lost with this one.
  await moved(aside, join(parent, name))
  return undefined
}

/** False when another sweep was first, or there is something at the new place. */
async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to)
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOENT') throw error
    return false
  }
}

/** When it was renamed last, in milliseconds. */
const changedAt = (folder: string): Promise<number> =>
  stat(folder).then(
    ({ ctimeMs }) => ctimeMs,
    () => Number.POSITIVE_INFINITY, // another sweep finished it
  )

async function isWritten(folder: string, now: number): Promise<boolean> {
  const beat = await lastTouched(join(folder, lockName))
  return now - beat < WRITER_LEAVES_AFTER
}

/** Half-written folders, and shared downloads, that nobody touched for a day. Below models/ only our own downloads: the rest may be the user's. */
async function sweepLeftovers(dataDir: string, now: number, signal?: AbortSignal): Promise<string[]> {
  const unsealed = async (folder: string) => isHex(basename(folder)) && !(await exists(join(folder, manifestName)))
  const download = async (folder: string) => basename(folder).startsWith('.fetch-')
  const removed: string[] = []
  for (const [parent, isLeftover] of [
    ['datasets', unsealed],
    ['adapters', unsealed],
    ['merged', unsealed],
    ['models', download],
    [sharedDownloads, async () => true],
  ] as const)
    for (const name of await namesIn(join(dataDir, parent))) {
      signal?.throwIfAborted()
      const folder = join(dataDir, parent, name)
      if (!isTemporary(name) && !(await isLeftover(folder))) continue
      if (now - (await lastTouched(folder)) <= abandonedAfter) continue
      await rm(folder, { recursive: true, force: true })
      removed.push(join(parent, name))
    }
  return removed
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false
      throw error
    },
  )
