import type { PreparationProgress, PreparationResult } from '#proto/humanizer/trainer/v1/preparation.ts'
import { DatasetReason } from '../api/dataset-reasons.ts'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { AttemptState, Remains } from '../workload/attempt-state.ts'
import { backoffSeconds, secondsLeft } from '../workload/backoff.ts'
import type { ClaimState } from '../workload/claim.ts'
import { artifactMissing, claimNotThere, claimUse } from '../workload/claim-state.ts'
import { remedyOf } from '../workload/ending.ts'
import type { ClaimUse } from '../workload/pod.ts'
import { specHash } from './prepare-config.ts'

/** What the cluster looked like when we read it. */
export interface Observed {
  readonly claim: ClaimState | undefined
  /** What the ConfigMaps of the sources lack, in words. */
  readonly missing: string | undefined
  /** The newest attempt of status.attempts; absent when there is none. */
  readonly attempt: AttemptState
  /** What the pod of a running attempt says of its work; absent when it does not answer. */
  readonly progress?: PreparationProgress | undefined
  /** Jobs and pods that the next attempt must not meet. */
  readonly remains: Remains
}

export type Decision =
  /** Nothing to do, and nothing new to say. */
  | { readonly kind: 'rest' }
  /** Prepared, and of this spec. */
  | { readonly kind: 'ready' }
  /** The failure stands in the status; the next attempt is due in `seconds`. */
  | { readonly kind: 'hold'; readonly seconds: number }
  | { readonly kind: 'wait'; readonly reason: DatasetReason; readonly message: string; readonly seconds: number }
  /** The pod works; what it told of it goes into the status. */
  | { readonly kind: 'follow'; readonly podName: string; readonly progress: PreparationProgress | undefined }
  | { readonly kind: 'stall'; readonly reason: DatasetReason; readonly message: string; readonly seconds?: number }
  | { readonly kind: 'makeClaim' }
  /** Open the attempt if it is not open yet, then make its Job. */
  | { readonly kind: 'prepare'; readonly attempt: number; readonly specHash: string; readonly claim: ClaimUse }
  | {
      readonly kind: 'endAttempt'
      readonly reason: string
      readonly message: string
      readonly counts: boolean
      /** No further attempt until spec or retryToken change. */
      readonly final: boolean
      readonly podUid?: string | undefined
    }
  | { readonly kind: 'publish'; readonly result: PreparationResult; readonly podUid?: string | undefined }
  /** Delete what earlier attempts left. `quietly`: what was said of the last one goes on standing. */
  | { readonly kind: 'clear'; readonly remains: Remains; readonly quietly: boolean }

/** Failures of its own that a preparation may have; data is deterministic, so few. */
export const MAX_FAILURES = 3

const PENDING_SECONDS = 15
/** What the pod seems to lack when one of its volumes is not mounted: it does not say which. */
const unmounted: readonly string[] = [DatasetReason.VolumeNotMounted, DatasetReason.SecretMissing]

export type Status = NonNullable<HumanizerDataset['status']>
export type Attempt = NonNullable<Status['attempts']>[number]

export const lastAttempt = (dataset: HumanizerDataset): Attempt | undefined => dataset.status?.attempts?.at(-1)

/** Whether the user asked for another try since the newest attempt was decided. */
const tokenChanged = ({ spec, status }: HumanizerDataset): boolean =>
  (spec.retryToken ?? '') !== (status?.retryToken ?? '')

export function decide(dataset: HumanizerDataset, observed: Observed, now: Date): Decision {
  const { metadata, spec, status = {} } = dataset
  if (metadata.deletionTimestamp) return { kind: 'rest' }
  const hash = specHash(spec)
  const last = lastAttempt(dataset)
  const open = last && !last.finishTime
  const prepared = status.preparedSpecHash === hash
  if (open && (prepared || last.specHash !== hash))
    return { kind: 'endAttempt', reason: 'Superseded', message: 'the spec has changed', counts: false, final: false }
  const { claimName } = spec.storage
  if (prepared && !observed.claim) return artifactMissing(claimName, status.location ?? '')
  if (prepared)
    return last?.reason === 'Superseded' && hasRemains(observed) ? clear(observed, false) : { kind: 'ready' }
  const again = !last || status.specHash !== hash || tokenChanged(dataset)
  if (last && !open && !again && isFinal(last.reason ?? '', status.failures ?? 0)) return { kind: 'rest' }

  if (!open && hasRemains(observed)) return clear(observed, !again && last.reason !== 'Superseded')
  const seconds = again ? 0 : secondsLeft(last.finishTime, backoffSeconds(endedInRow(status, hash)), now)
  if (seconds > 0) return { kind: 'hold', seconds }
  if (!observed.claim)
    return status.digest ? artifactMissing(claimName, status.location ?? '') : claimNotThere(claimName)
  const claim = claimUse(observed.claim)
  if (claim.kind === 'stall') return claim
  if (open) return follow(dataset, last, observed, claim.claim)
  if (observed.missing) return waitForConfigMap(observed.missing)
  return { kind: 'prepare', attempt: (last?.number ?? 0) + 1, specHash: hash, claim: claim.claim }
}

const waitForConfigMap = (message: string): Decision => ({
  kind: 'wait',
  reason: DatasetReason.ConfigMapMissing,
  message,
  seconds: PENDING_SECONDS,
})

function follow(
  dataset: HumanizerDataset,
  last: Attempt,
  { attempt: state, missing, progress }: Observed,
  claim: ClaimUse,
): Decision {
  switch (state.kind) {
    case 'absent':
      if (missing) return waitForConfigMap(missing)
      return { kind: 'prepare', attempt: last.number, specHash: last.specHash, claim }
    case 'leaving':
      return {
        kind: 'wait',
        reason: DatasetReason.Stopping,
        message: 'the Job was deleted; waiting until its pod is gone',
        seconds: PENDING_SECONDS,
      }
    case 'pending':
      if (missing && unmounted.includes(state.reason)) return waitForConfigMap(missing)
      return { kind: 'wait', reason: state.reason, message: state.message, seconds: PENDING_SECONDS }
    case 'running':
      return { kind: 'follow', podName: state.pod.name, progress }
    case 'ended':
      return judge(dataset, last, state)
  }
}

function judge(
  { status }: HumanizerDataset,
  last: Attempt,
  { ending, podUid }: AttemptState & { kind: 'ended' },
): Decision {
  switch (ending.kind) {
    case 'completed': {
      const result = ending.result.preparation
      if (result?.digest && result.specHash === last.specHash) return { kind: 'publish', result, podUid }
      return failed('ResultMissing', `the Job told no result for ${last.specHash}`)
    }
    case 'disrupted':
      return {
        kind: 'endAttempt',
        reason: DatasetReason.Disrupted,
        message: ending.message,
        counts: false,
        final: false,
        podUid,
      }
    case 'failed':
      return failed(ending.reason, ending.message)
  }

  function failed(reason: string, message: string): Decision {
    const counts = remedyOf(reason) !== 'time'
    const failures = (status?.failures ?? 0) + (counts ? 1 : 0)
    return { kind: 'endAttempt', reason, message, counts, final: isFinal(reason, failures), podUid }
  }
}

const isFinal = (reason: string, failures: number): boolean =>
  remedyOf(reason) === 'nothing' || (remedyOf(reason) !== 'time' && failures > MAX_FAILURES)

/** Attempts at the end of the list that prepared this spec and did not: they set the pace of the next one. */
function endedInRow({ attempts = [] }: Status, hash: string): number {
  return (
    attempts.length - attempts.findLastIndex(({ specHash, reason }) => specHash !== hash || reason === 'Completed') - 1
  )
}

const hasRemains = ({ remains }: Observed): boolean => remains.jobs.length + remains.pods.length > 0
const clear = ({ remains }: Observed, quietly: boolean): Decision => ({ kind: 'clear', remains, quietly })
