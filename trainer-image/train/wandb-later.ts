import { join } from 'node:path'
import { pino } from 'pino'
import type { Tracking } from '#proto/humanizer/trainer/v1/run.ts'
import { JobFailure } from '../job/failure.ts'
import { openTracker, type Pace } from './wandb.ts'
import { readPending, trackingFolder } from './wandb-pending.ts'

/** A person waits with it. */
const patience: Partial<Pace> = { finishMilliseconds: 120_000 }

/** Sends what a run could not, or was not to, and resolves the run's page. What the server has of it already stands there once. */
export async function sendPending(runFolder: string, key: string, pace = patience): Promise<string> {
  const directory = join(runFolder, trackingFolder)
  const pending = await readPending(directory)
  if (!pending)
    throw new JobFailure('NotFound', `${runFolder} has nothing to send: its run has not ended, or all of it was sent`)
  const { settings, run, result, files } = pending
  let last: Tracking = { url: '', problem: 'the server was not asked' }
  const tracker = await openTracker({
    settings: { ...settings, mode: 'Online', keyFile: '' },
    run,
    directory,
    key,
    log: pino({ enabled: false }),
    report: (tracking) => {
      last = tracking
    },
    pace,
  })
  await tracker.finish({ ...result, files: Object.fromEntries(files.map((name) => [name, join(runFolder, name)])) })
  if (last.problem !== '') throw new JobFailure('Unavailable', last.problem)
  return last.url
}
