import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { RunReason } from '../api/run-reasons.ts'
import type { AttemptState } from '../workload/attempt-state.ts'
import { backoffSeconds, secondsLeft } from '../workload/backoff.ts'
import { remedyOf } from '../workload/ending.ts'
import type { ClaimUse } from '../workload/pod.ts'
import {
  type Attempt,
  type Decision,
  lastAttempt,
  type Observed,
  type Plan,
  type Status,
  type Trainer,
} from './decide.ts'

const PENDING_SECONDS = 15

/** From the pinned base model to the end. */
export function decideTraining(run: QLoRARun, observed: Observed, claim: ClaimUse, now: Date): Decision {
  const last = lastAttempt(run)
  if (last && !last.finishTime) return follow(run, last, observed, claim, now)
  const { remains } = observed
  if (remains.jobs.length + remains.pods.length > 0)
    return { kind: 'clear', remains, quietly: last !== undefined && last.reason !== RunReason.Suspended }
  const seconds = last ? secondsLeft(last.finishTime, backoffSeconds(endedInRow(run.status)), now) : 0
  if (seconds > 0) return { kind: 'hold', seconds }
  return { kind: 'train', attempt: (last?.number ?? 0) + 1, plan: nextPlan(run), claim }
}

function follow(run: QLoRARun, last: Attempt, { attempt, trainer }: Observed, claim: ClaimUse, now: Date): Decision {
  switch (attempt.kind) {
    case 'absent':
      return { kind: 'train', attempt: last.number, plan: planOf(last), claim }
    case 'leaving':
      return {
        kind: 'wait',
        reason: RunReason.Stopping,
        message: 'the Job was deleted; waiting until its pod is gone',
        seconds: PENDING_SECONDS,
      }
    case 'pending':
      return { kind: 'wait', reason: attempt.reason, message: attempt.message, seconds: PENDING_SECONDS }
    case 'running':
      if (isStuck(run, trainer, now)) return stuck(run, attempt.pod.uid)
      return { kind: 'follow', report: trainer?.report, podUid: attempt.pod.uid, podName: attempt.pod.name }
    case 'ended':
      return judge(run, last, attempt)
  }
}

const isStuck = ({ spec }: QLoRARun, trainer: Trainer | undefined, now: Date): boolean =>
  trainer?.unchangedSince !== undefined &&
  now.getTime() - trainer.unchangedSince.getTime() > spec.progressDeadlineSeconds * 1000

function stuck(run: QLoRARun, podUid: string): Decision {
  const message = `the trainer made no progress for spec.progressDeadlineSeconds (${run.spec.progressDeadlineSeconds})`
  return failed(run, { reason: RunReason.ProgressDeadlineExceeded, message, podUid })
}

function judge(run: QLoRARun, last: Attempt, { ending, podUid }: AttemptState & { kind: 'ended' }): Decision {
  switch (ending.kind) {
    case 'completed': // with a report the run would have succeeded before it came here
      return failed(run, { reason: 'ResultMissing', message: 'the Job completed and told no report', podUid })
    case 'disrupted':
      return {
        kind: 'endAttempt',
        reason: RunReason.Disrupted,
        message: ending.message,
        counts: false,
        report: ending.result?.run,
        podUid,
      }
    case 'failed': {
      const { reason, message, result } = ending
      const end = { reason, message, podUid, report: result?.run }
      switch (remedyOf(reason)) {
        case 'nothing':
          return { kind: 'fail', reason, message, attempt: end }
        case 'time':
          return { kind: 'endAttempt', ...end, counts: false }
        case 'lessMemory':
          return smaller(planOf(last)) && !isReduced(run, last)
            ? failed(run, end)
            : { kind: 'fail', reason, message, attempt: end }
        case 'again':
          return failed(run, end)
      }
    }
  }
}

type End = Omit<Decision & { kind: 'endAttempt' }, 'kind' | 'counts'>

/** A failure that counts: the next attempt, or the end when there were too many. */
function failed({ spec, status }: QLoRARun, end: End): Decision {
  const failures = (status?.failures ?? 0) + 1
  if (failures <= spec.maxRetries) return { kind: 'endAttempt', ...end, counts: true }
  const message = `${failures} failures, spec.maxRetries is ${spec.maxRetries}; the last was ${end.reason}: ${end.message}`
  return { kind: 'fail', reason: RunReason.RetriesExhausted, message, attempt: end }
}

const planOf = ({ microBatchSize, gradientAccumulation }: Attempt): Plan => ({ microBatchSize, gradientAccumulation })

/** Half the micro-batch and twice the accumulation; an odd one goes to 1, so that the effective batch stays the same. */
function smaller({ microBatchSize: micro, gradientAccumulation }: Plan): Plan | undefined {
  if (micro <= 1) return undefined
  const divisor = micro % 2 === 0 ? 2 : micro
  return { microBatchSize: micro / divisor, gradientAccumulation: gradientAccumulation * divisor }
}

const isReduced = ({ spec }: QLoRARun, { microBatchSize }: Attempt): boolean =>
  microBatchSize < spec.training.microBatchSize

/** Without a failure since the start or the last retryToken: as the spec says. */
function nextPlan(run: QLoRARun): Plan {
  const { microBatchSize, gradientAccumulation } = run.spec.training
  const last = lastAttempt(run)
  if (!last || !run.status?.failures) return { microBatchSize, gradientAccumulation }
  const reduces = remedyOf(last.reason ?? '') === 'lessMemory' && !isReduced(run, last)
  return (reduces && smaller(planOf(last))) || planOf(last)
}

/** Attempts at the end of the list that did not hand over by request: they set the pace of the next one. */
function endedInRow({ attempts = [] }: Status = {}): number {
  const since = attempts.findLastIndex(
    ({ reason, finishTime, startTime }) => reason === RunReason.Suspended || longLived(startTime, finishTime),
  )
  return attempts.length - since - 1
}

/** An attempt that worked for ten minutes says nothing about the next one. */
const longLived = (start: string, finish: string | undefined): boolean =>
  finish !== undefined && Date.parse(finish) - Date.parse(start) > 600_000
