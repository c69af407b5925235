import { status } from '@grpc/grpc-js'
import { type TrainerServiceServer, TrainerServiceService } from '#proto/humanizer/trainer/v1/trainer_service.ts'
import { JobFailure } from '../job/failure.ts'
import { CallRefused } from '../service/errors.ts'
import { type Served, service } from '../service/server.ts'
import type { LiveRun, Requests } from './live-run.ts'

/** TrainerService over the live run: translate, call, translate back. */
export function trainerService(live: LiveRun, requests: Requests, runUid: string, attempt: number): Served {
  const mine = (request: { runUid: string; attempt: number }): void => {
    if (request.runUid !== runUid || request.attempt !== attempt)
      throw new CallRefused(
        status.NOT_FOUND,
        `run ${request.runUid} attempt ${request.attempt} is not here; this pod trains ${runUid} attempt ${attempt}`,
      )
  }
  return service<TrainerServiceServer>(TrainerServiceService, {
    async getRun(request) {
      mine(request)
      return { report: live.report, sequence: live.sequence }
    },
    async *watchRun(request, signal) {
      mine(request)
      yield* live.watch(request.sinceSequence, signal)
    },
    async saveCheckpoint(request) {
      mine(request)
      return { checkpoint: await requests.askForCheckpoint() }
    },
    async stop(request) {
      mine(request)
      requests.askToStop(new JobFailure('Stopped', 'the operator asked to stop'))
      return {}
    },
    async evaluate(request, signal) {
      mine(request)
      return { evaluation: await requests.betweenSteps.ask((desk, step, stop) => desk.evaluate(step, stop), signal) }
    },
    async generate(request, signal) {
      mine(request)
      return requests.betweenSteps.ask((desk, step, stop) => desk.generate(request, step, stop), signal)
    },
  })
}
