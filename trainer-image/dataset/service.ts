import { status } from '@grpc/grpc-js'
import {
  type PreparationServiceServer,
  PreparationServiceService,
} from '#proto/humanizer/trainer/v1/preparation_service.ts'
import { CallRefused } from '../service/errors.ts'
import { type Served, service } from '../service/server.ts'
import type { ProgressBoard } from './progress.ts'

/** PreparationService over the board of the one dataset that this pod prepares. */
export function preparationService(datasetUid: string, board: ProgressBoard): Served {
  const requireOurs = (asked: string): void => {
    if (asked !== datasetUid)
      throw new CallRefused(status.NOT_FOUND, `dataset_uid is "${asked}"; this pod prepares "${datasetUid}"`)
  }
  return service<PreparationServiceServer>(PreparationServiceService, {
    async getPreparation({ datasetUid: asked }) {
      requireOurs(asked)
      return { progress: board.current, sequence: board.sequence }
    },
    async *watchPreparation({ datasetUid: asked, sinceSequence }, signal) {
      requireOurs(asked)
      // A watcher that knows a greater sequence watched an earlier pod: it gets where this one stands.
      for (let seen = sinceSequence > board.sequence ? -1 : sinceSequence; !signal.aborted; ) {
        await board.changed(seen, signal)
        if (signal.aborted) return
        seen = board.sequence
        yield { progress: board.current, sequence: seen }
      }
    },
  })
}
