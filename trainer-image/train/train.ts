import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'
import type { RunReport, TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import type { JobContext } from '../job/context.ts'
import { failureOf, JobFailure } from '../job/failure.ts'
import { type RunningServer, startServer } from '../service/server.ts'
import { writeFileAtomic } from '../storage/atomic.ts'
import { acquireLock } from '../storage/lock.ts'
import { claimFolder, ownerRecord } from '../storage/owners.ts'
import { runAttempt } from './attempt.ts'
import { type CheckedConfig, checkConfig } from './configuration.ts'
import { LiveRun, Requests } from './live-run.ts'
import { trainerService } from './service.ts'

/**
 * Trains one attempt of one run. A run that finished before reports again without training. Throws JobFailure with the
 * report so far; after a stop a checkpoint of the last optimizer step is sealed.
 */
export async function train(config: TrainConfig, context: JobContext): Promise<RunReport> {
  const asked = checkConfig(config)
  const { namespace, name, uid } = asked.owner
  const runDirectory = join(context.dataDir, 'runs', namespace, name, uid)
  const finished = await finishedReport(runDirectory)
  if (finished !== undefined) {
    context.log.info('this run is finished; it is reported again')
    return finished
  }
  await mkdir(runDirectory, { recursive: true })
  await claimFolder(runDirectory, ownerRecord(asked.owner, asked.reclaim))
  const lock = await acquireLock(runDirectory, context.podUid, context.signal)
  const live = new LiveRun()
  const requests = new Requests()
  const signal = AbortSignal.any([context.signal, requests.stop, lock.lost])
  let server: RunningServer | undefined
  try {
    server = await serve(asked, context, live, requests)
    const report = await runAttempt({ asked, runDirectory, context, live, requests, signal })
    await writeResult(runDirectory, asked, report)
    return report
  } catch (error) {
    // A stop ends waits with the signal's own reason; what it interrupted does not matter.
    const failure = failureOf(signal.aborted && !(error instanceof JobFailure) ? signal.reason : error)
    const state = failure.reason === 'Stopped' ? 'RUN_STATE_STOPPED' : 'RUN_STATE_FAILED'
    live.update({ state })
    throw new JobFailure(failure.reason, failure.message, { cause: error, partial: { run: live.report } })
  } finally {
    requests.refuseAll(new JobFailure('Stopped', 'the run has ended'))
    await server?.close()
    await lock.release()
  }
}

async function serve(
  { owner, attempt, trust }: CheckedConfig,
  { podUid, log }: JobContext,
  live: LiveRun,
  requests: Requests,
): Promise<RunningServer | undefined> {
  if (trust === undefined) {
    log.info('no trust in the configuration: no calls are served')
    return undefined
  }
  const services = [trainerService(live, requests, owner.uid, attempt)]
  const server = await startServer({ trust, podUid, ownerUid: owner.uid, attempt, services })
  log.info({ port: server.port }, 'serving calls')
  return server
}

const resultIn = (runDirectory: string): string => join(runDirectory, 'result.json')

async function writeResult(runDirectory: string, { owner, attempt }: CheckedConfig, run: RunReport): Promise<void> {
  const result = JobResult.fromPartial({ ownerUid: owner.uid, attempt, reason: 'Completed', run })
  await writeFileAtomic(resultIn(runDirectory), `${JSON.stringify(JobResult.toJSON(result), null, 2)}\n`)
}

async function finishedReport(runDirectory: string): Promise<RunReport | undefined> {
  let text: string
  try {
    text = await readFile(resultIn(runDirectory), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const { run } = JobResult.fromJSON(JSON.parse(text))
  return run?.state === 'RUN_STATE_SUCCEEDED' ? run : undefined
}
