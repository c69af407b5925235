import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { RunReason } from '../api/run-reasons.ts'
import type { AttemptState } from '../workload/attempt-state.ts'
import { backoffSeconds, secondsLeft } from '../workload/backoff.ts'
import { type Ending, remedyOf } from '../workload/ending.ts'
import type { ClaimUse } from '../workload/pod.ts'
import type { Decision } from './decide.ts'

const PENDING_SECONDS = 15
const RUNNING_SECONDS = 60

/** Until the base model is pinned. */
export function decideFetch(run: QLoRARun, state: AttemptState, claim: ClaimUse, now: Date): Decision {
  const fetch = run.status?.fetch
  if (!fetch) return { kind: 'fetch', attempt: 1, claim }
  if (fetch.finishTime) {
    const seconds = secondsLeft(fetch.finishTime, backoffSeconds(fetch.fruitless ?? 0), now)
    if (seconds > 0) return { kind: 'hold', seconds }
    return { kind: 'fetch', attempt: fetch.number + 1, claim }
  }
  switch (state.kind) {
    case 'absent':
      return { kind: 'fetch', attempt: fetch.number, claim }
    case 'leaving':
      return {
        kind: 'wait',
        reason: RunReason.Stopping,
        message: 'the fetch Job was deleted; waiting until its pod is gone',
        seconds: PENDING_SECONDS,
      }
    case 'pending':
      return { kind: 'wait', reason: state.reason, message: state.message, seconds: PENDING_SECONDS }
    case 'running':
      return {
        kind: 'wait',
        reason: RunReason.Fetching,
        message: `pod ${state.pod.name} brings the base model into the claim`,
        seconds: RUNNING_SECONDS,
      }
    case 'ended':
      return judge(run, state.ending)
  }
}

function judge({ spec, status }: QLoRARun, ending: Ending): Decision {
  const { huggingFace, volume } = spec.baseModel
  const field = `spec.baseModel.${huggingFace ? 'huggingFace' : volume ? 'volume' : 'http'}`
  switch (ending.kind) {
    case 'completed': {
      const model = ending.result.fetch?.model
      if (model?.digest && model.path) return { kind: 'pinModel', model }
      return {
        kind: 'endFetch',
        reason: 'ResultMissing',
        message: `${field}: the Job told no base model`,
        counts: true,
      }
    }
    case 'disrupted':
      return { kind: 'endFetch', reason: RunReason.Disrupted, message: `${field}: ${ending.message}`, counts: false }
    case 'failed': {
      const { reason } = ending
      const message = `${field}: ${ending.message}`
      const remedy = remedyOf(reason)
      if (remedy === 'nothing') return { kind: 'fail', reason, message }
      if (remedy === 'time') return { kind: 'endFetch', reason, message, counts: false }
      const failures = (status?.fetch?.failures ?? 0) + 1
      if (failures > spec.maxRetries)
        return {
          kind: 'fail',
          reason: RunReason.RetriesExhausted,
          message: `fetching failed ${failures} times, spec.maxRetries is ${spec.maxRetries}; the last was ${reason}: ${message}`,
        }
      return { kind: 'endFetch', reason, message, counts: true }
    }
  }
}
