import { open, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isTemporaryOf, writeFileAtomic } from './atomic.ts'

/*
 * The writer's lock of a folder that several nodes may mount. The holder rewrites it with a growing beat. A lock is
 * dead when its beat stood still for a whole `deadAfter` of the observer's own monotonic clock: clocks of two
 * nodes are never compared. The operator already waits for the old pod to be gone; this is the second fence.
 */

export const lockName = 'writer.lock'

export interface LockTimes {
  /** Milliseconds between two beats. */
  readonly beatEvery: number
  /** Milliseconds without a beat after which the holder is taken for dead. */
  readonly deadAfter: number
}

const usualTimes: LockTimes = { beatEvery: 2_000, deadAfter: 10_000 }

/** Another living pod writes this folder. */
export class FolderLocked extends Error {
  override readonly name = 'FolderLocked'
  readonly code = 'FOLDER_LOCKED'
}

export interface WriterLock {
  /** Aborts with FolderLocked when another pod took the lock, or the folder can no longer be written. */
  readonly lost: AbortSignal
  release(): Promise<void>
}

interface Holder {
  readonly podUid: string
  readonly beat: number
}

async function readHolder(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function podUidOf(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as Holder).podUid
  } catch {
    return undefined // a half-written first beat of a pod that died at once
  }
}

/** Takes the lock, waiting out a holder that is dead; throws FolderLocked when the holder shows a sign of life. */
export async function acquireLock(
  directory: string,
  podUid: string,
  signal?: AbortSignal,
  times: LockTimes = usualTimes,
): Promise<WriterLock> {
  const path = join(directory, lockName)
  for (;;) {
    if (await create(path, podUid)) {
      await sweepBeats(directory)
      return hold(path, podUid, times)
    }
    const seen = await readHolder(path)
    if (seen === undefined) continue
    if (podUidOf(seen) !== podUid) {
      await sleep(times.deadAfter, undefined, signal && { signal }).catch(() => signal?.throwIfAborted())
      if ((await readHolder(path)) !== seen)
        throw new FolderLocked(`${directory} is written by pod ${podUidOf(seen)}; expected no other writer`)
    }
    await rm(path, { force: true })
  }
}

/** Removes the half-written beats of holders that were killed. */
async function sweepBeats(directory: string): Promise<void> {
  for (const name of await readdir(directory))
    if (isTemporaryOf(name, lockName)) await rm(join(directory, name), { force: true })
}

async function create(path: string, podUid: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx', 0o644)
    await handle.writeFile(JSON.stringify({ podUid, beat: 0 } satisfies Holder))
    await handle.close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function hold(path: string, podUid: string, times: LockTimes): WriterLock {
  const lost = new AbortController()
  let beat = 0
  let pending: Promise<void> = Promise.resolve()
  const step = async (): Promise<void> => {
    try {
      const holder = podUidOf(await readHolder(path))
      if (holder !== podUid) throw new FolderLocked(`${path} was taken by pod ${holder ?? '(removed)'} from ${podUid}`)
      beat += 1
      await writeFileAtomic(path, JSON.stringify({ podUid, beat } satisfies Holder))
    } catch (error) {
      clearInterval(timer)
      lost.abort(error)
    }
  }
  const timer = setInterval(() => {
    pending = pending.then(() => (lost.signal.aborted ? undefined : step()))
  }, times.beatEvery)
  timer.unref()
  return {
    lost: lost.signal,
    async release() {
      clearInterval(timer)
      await pending
      if (!lost.signal.aborted && podUidOf(await readHolder(path)) === podUid) await rm(path, { force: true })
    },
  }
}
