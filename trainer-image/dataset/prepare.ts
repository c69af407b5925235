import { mkdir, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { PreparationResult, PrepareConfig } from '#proto/humanizer/trainer/v1/preparation.ts'
import type { JobContext } from '../job/context.ts'
import { startServer } from '../service/server.ts'
import { acquireLock } from '../storage/lock.ts'
import { ownerRecord } from '../storage/owners.ts'
import { buildDataset } from './build.ts'
import { findPrepared, recordPrepared } from './by-spec.ts'
import { progressBoard } from './progress.ts'
import { preparationService } from './service.ts'
import { settingsOf } from './settings.ts'
import { sweepAbandoned, sweepAttempts, workFolderOf } from './work-folder.ts'

/**
 * Prepares one dataset: read, clean, deduplicate, split, write, seal. Idempotent per specHash: what is already sealed under it is
 * verified and returned at once. A killed attempt leaves only its work folder, which the next one sweeps; downloads go on where
 * they ended, and the stages that were finished are not done again.
 */
export async function prepare(config: PrepareConfig, context: JobContext): Promise<PreparationResult> {
  const settings = settingsOf(config)
  const datasets = join(context.dataDir, 'datasets')
  const work = workFolderOf(datasets, settings.ownerUid, context.podUid)
  const owner = ownerRecord(config.owner, config.reclaim)
  const board = progressBoard()
  // Without an operator there is nobody to sign a call, so a local run serves nothing.
  const server =
    config.trust === undefined
      ? undefined
      : await startServer({
          trust: config.trust,
          podUid: context.podUid,
          ownerUid: settings.ownerUid,
          attempt: config.attempt,
          services: [preparationService(settings.ownerUid, board)],
          ...(context.host !== undefined && { host: context.host }),
        })
  try {
    const prepared = await findPrepared(context.dataDir, settings.specHash, context.log, owner)
    if (prepared !== undefined) return prepared
    await mkdir(work.root, { recursive: true })
    const lock = await acquireLock(work.root, context.podUid, context.signal)
    try {
      await sweepAttempts(work)
      await sweepAbandoned(work, Date.now())
      await mkdir(work.attempt)
      const result = await buildDataset(settings, work, {
        dataDir: context.dataDir,
        owner,
        hubEndpoint: context.hubEndpoint,
        threads: context.threads ?? availableParallelism(),
        signal: AbortSignal.any([context.signal, lock.lost]),
        log: context.log,
        report: board.report,
      })
      await recordPrepared(context.dataDir, result)
      // Without the lock they are the next holder's.
      if (!lock.lost.aborted)
        for (const kept of [work.downloads, work.stages]) await rm(kept, { recursive: true, force: true })
      return result
    } finally {
      await rm(work.attempt, { recursive: true, force: true })
      await lock.release()
    }
  } finally {
    await server?.close()
  }
}
