import type { PreparationProgress } from '#proto/humanizer/trainer/v1/preparation.ts'
import { PreparationServiceService } from '#proto/humanizer/trainer/v1/preparation_service.ts'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { Trust } from '../trust/trust.ts'
import type { RunningPod } from '../workload/attempt-state.ts'
import { trainerPort } from '../workload/job.ts'
import { lastAttempt } from './decide.ts'

/** Asks a preparing pod how far it is. Undefined when it does not answer: silence is never an error, an answer never proof. */
export type AskPreparation = (dataset: HumanizerDataset, pod: RunningPod) => Promise<PreparationProgress | undefined>

export const preparationClient =
  (trust: Trust): AskPreparation =>
  async (dataset, { ip, uid: podUid }) => {
    if (!ip) return undefined
    const { uid: ownerUid = '' } = dataset.metadata
    const attempt = lastAttempt(dataset)?.number ?? 0
    const answer = await trust
      .peer({ host: ip, port: trainerPort, podUid, ownerUid, attempt, generation: 0 })
      .call(PreparationServiceService.getPreparation, { datasetUid: ownerUid })
    return answer.kind === 'answered' ? answer.response.progress : undefined
  }
