import type { ResolvedModel } from '#proto/humanizer/trainer/v1/model.ts'
import type { RunReport } from '#proto/humanizer/trainer/v1/run.ts'
import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { RunReason } from '../api/run-reasons.ts'
import type { AttemptState, Remains } from '../workload/attempt-state.ts'
import type { ClaimState } from '../workload/claim.ts'
import { artifactMissing, claimUse } from '../workload/claim-state.ts'
import type { ClaimUse } from '../workload/pod.ts'
import { datasetObstacle, type PinnedDataset, pinnedFrom } from './dataset-gate.ts'
import { decideFetch } from './decide-fetch.ts'
import { decideTraining } from './decide-training.ts'

/** What the cluster and the trainer looked like when we read them. */
export interface Observed {
  readonly dataset: HumanizerDataset | undefined
  /** Those of the namespace, once the run has ended: what became of its checkpoints. */
  readonly releases: readonly AdapterRelease[]
  readonly claim: ClaimState | undefined
  /** The newest attempt of fetching. */
  readonly fetch: AttemptState
  /** The newest attempt of training. */
  readonly attempt: AttemptState
  readonly trainer: Trainer | undefined
  /** Jobs and pods that no further attempt of training may meet. */
  readonly remains: Remains
}

/** What the running trainer says over gRPC. Never proof; only shortens waits. */
export interface Trainer {
  /** Absent when it did not answer. */
  readonly report?: RunReport | undefined
  /** Since when nothing has changed. Absent: cannot be known, because it has never been heard. */
  readonly unchangedSince?: Date | undefined
}

/** How the effective batch is divided. Their product never changes within a run. */
export interface Plan {
  readonly microBatchSize: number
  readonly gradientAccumulation: number
}

export type Decision =
  /** Nothing to do, and nothing new to say. */
  | { readonly kind: 'rest' }
  /** What stands in the status goes on standing; look again in `seconds`. */
  | { readonly kind: 'hold'; readonly seconds: number }
  | { readonly kind: 'wait'; readonly reason: RunReason; readonly message: string; readonly seconds: number }
  /** Not started yet, and only a change of the spec can help. */
  | { readonly kind: 'stall'; readonly reason: RunReason; readonly message: string; readonly seconds?: number }
  /** Pin dataset and configuration: from here on they cannot change. */
  | { readonly kind: 'begin'; readonly dataset: PinnedDataset }
  /** Open the attempt of fetching if it is not open yet, then make its Job. */
  | { readonly kind: 'fetch'; readonly attempt: number; readonly claim: ClaimUse }
  | { readonly kind: 'endFetch'; readonly reason: string; readonly message: string; readonly counts: boolean }
  | { readonly kind: 'pinModel'; readonly model: ResolvedModel }
  /** Open the attempt of training if it is not open yet, then make its Job. */
  | { readonly kind: 'train'; readonly attempt: number; readonly plan: Plan; readonly claim: ClaimUse }
  /** A pod runs; `report` is what it said, if it did. */
  | {
      readonly kind: 'follow'
      readonly report?: RunReport | undefined
      readonly podUid: string
      readonly podName: string
    }
  | {
      readonly kind: 'endAttempt'
      readonly reason: string
      readonly message: string
      /** Whether it counts against spec.maxRetries. */
      readonly counts: boolean
      readonly report?: RunReport | undefined
      readonly podUid?: string | undefined
    }
  | { readonly kind: 'suspend'; readonly remains: Remains }
  /** Delete what earlier attempts left. `quietly`: what was said of the last one goes on standing. */
  | { readonly kind: 'clear'; readonly remains: Remains; readonly quietly: boolean }
  | { readonly kind: 'succeed'; readonly report: RunReport; readonly podUid?: string | undefined }
  /** Ended for good, until spec.retryToken changes. */
  | {
      readonly kind: 'fail'
      readonly reason: string
      readonly message: string
      readonly attempt?: EndOfAttempt | undefined
    }
  /** spec.retryToken of a failed run has changed. */
  | { readonly kind: 'restart' }

/** The attempt that made a run fail, when there was one. */
export interface EndOfAttempt {
  readonly reason: string
  readonly report?: RunReport | undefined
  readonly podUid?: string | undefined
}

export type Status = NonNullable<QLoRARun['status']>
export type Attempt = NonNullable<Status['attempts']>[number]

export const lastAttempt = (run: QLoRARun): Attempt | undefined => run.status?.attempts?.at(-1)

export const succeeded = ({ status }: QLoRARun): boolean =>
  status?.conditions?.some(({ type, status }) => type === 'Succeeded' && status === 'True') ?? false

/** Nothing happens to a suspended run unless its spec changes, which is watched. Seconds. */
const SUSPENDED_SECONDS = 300

/** Terminal first: nothing that happens to Jobs, pods or volumes makes a finished run train again. */
export function decide(run: QLoRARun, observed: Observed, now: Date): Decision {
  const { metadata, spec, status = {} } = run
  if (metadata.deletionTimestamp) return { kind: 'rest' }
  if (status.completionTime) return decideEnded(run, observed)
  const finished = resultOf(observed.attempt)
  if (finished) return finished
  if (spec.suspend) return decideSuspended(run, observed)

  if (!status.startTime) {
    const obstacle = datasetObstacle(run, observed.dataset)
    if (obstacle) return obstacle
    return { kind: 'begin', dataset: pinnedFrom(observed.dataset!) }
  }
  if (!observed.claim) return artifactMissing(spec.storage.claimName, status.datasetLocation ?? 'the dataset')
  const claim = claimUse(observed.claim)
  if (claim.kind === 'stall') return claim
  return status.model
    ? decideTraining(run, observed, claim.claim, now)
    : decideFetch(run, observed.fetch, claim.claim, now)
}

/** Work that is done counts, whatever else is wanted by now. */
function resultOf(state: AttemptState): Decision | undefined {
  if (state.kind !== 'ended' || state.ending.kind !== 'completed') return undefined
  const report = state.ending.result.run
  return report && { kind: 'succeed', report, podUid: state.podUid }
}

function decideEnded(run: QLoRARun, { remains }: Observed): Decision {
  const { spec, status } = run
  const retry = !succeeded(run) && (spec.retryToken ?? '') !== (status?.retryToken ?? '')
  if (retry) return { kind: 'restart' }
  return remains.pods.length > 0 ? { kind: 'clear', remains, quietly: true } : { kind: 'rest' }
}

function decideSuspended(run: QLoRARun, { remains }: Observed): Decision {
  const last = lastAttempt(run)
  const open = last !== undefined && !last.finishTime
  if (open || remains.jobs.length + remains.pods.length > 0) return { kind: 'suspend', remains }
  return { kind: 'wait', reason: RunReason.Suspended, message: 'spec.suspend is true', seconds: SUSPENDED_SECONDS }
}
