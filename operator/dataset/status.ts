import type { DataCounts, PreparationResult } from '#proto/humanizer/trainer/v1/preparation.ts'
import { DatasetReason } from '../api/dataset-reasons.ts'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import { kubeTime, readyFrom, type Summary } from '../kube/conditions.ts'
import { type Attempt, type Decision, MAX_FAILURES, type Status } from './decide.ts'
import { progressAfter } from './progress.ts'

const MAX_ATTEMPTS = 10
const SUMMARY_CHARACTERS = 2048
/** What the CRD takes; a card may name many licences. */
const LICENSE_CHARACTERS = 128

/** The status after `decision`; written before it is carried out. */
export function statusAfter(dataset: HumanizerDataset, decision: Decision, now: Date): Status {
  const status = dataset.status ?? {}
  switch (decision.kind) {
    case 'rest':
    case 'hold':
    case 'makeClaim':
      return same(dataset)
    case 'ready':
      return said(
        dataset,
        readied(status),
        { state: 'ready', reason: DatasetReason.Prepared, message: preparedMessage(dataset, status) },
        now,
      )
    case 'wait':
    case 'stall':
      return said(dataset, status, summaryOf(decision), now)
    case 'follow': {
      const { podName, progress } = decision
      const next = progress ? { ...status, progress: progressAfter(status.progress, progress, now) } : status
      return progressing(dataset, next, DatasetReason.Preparing, `pod ${podName} prepares the dataset`, now)
    }
    case 'clear':
      if (decision.quietly) return same(dataset)
      return progressing(dataset, status, DatasetReason.Stopping, leaving(decision.remains.pods), now)
    case 'prepare':
      if (status.attempts?.at(-1)?.number === decision.attempt) return same(dataset)
      return progressing(
        dataset,
        opened(dataset, decision, now),
        DatasetReason.Scheduling,
        `attempt ${decision.attempt}: making the Job`,
        now,
      )
    case 'endAttempt': {
      const failures = (status.failures ?? 0) + (decision.counts ? 1 : 0)
      return said(dataset, { ...ended(status, decision, now), failures }, endedSummary(decision, failures), now)
    }
    case 'publish': {
      const next = {
        ...ended(status, { reason: 'Completed', podUid: decision.podUid }, now),
        failures: 0,
        ...published(dataset, decision.result, now),
      }
      return said(
        dataset,
        next,
        { state: 'ready', reason: DatasetReason.Prepared, message: preparedMessage(dataset, next) },
        now,
      )
    }
  }
}

function said(dataset: HumanizerDataset, status: Status, summary: Summary, now: Date): Status {
  const generation = dataset.metadata.generation ?? 0
  return {
    ...status,
    observedGeneration: generation,
    conditions: readyFrom(status.conditions, summary, generation, now),
  }
}

const progressing = (dataset: HumanizerDataset, status: Status, reason: string, message: string, now: Date): Status =>
  said(dataset, status, { state: 'reconciling', reason, message }, now)

/** What was said stands, for the spec as it now is. */
function same({ status = {}, metadata: { generation = 0 } }: HumanizerDataset): Status {
  if (!status.conditions) return status
  const conditions = status.conditions.map((condition) => ({ ...condition, observedGeneration: generation }))
  return { ...status, observedGeneration: generation, conditions }
}

const summaryOf = (decision: Decision & { kind: 'wait' | 'stall' }): Summary => ({
  state: decision.kind === 'stall' ? 'stalled' : 'reconciling',
  reason: decision.reason,
  message: decision.message,
})

function endedSummary(
  { reason, message, final, counts }: Decision & { kind: 'endAttempt' },
  failures: number,
): Summary {
  if (final && failures > MAX_FAILURES)
    return {
      state: 'stalled',
      reason: DatasetReason.RetriesExhausted,
      message: `${failures} attempts failed, the last with ${reason}: ${message}`,
    }
  if (final) return { state: 'stalled', reason, message }
  return {
    state: 'reconciling',
    reason: counts ? DatasetReason.Retrying : reason,
    message: counts ? `${reason}: ${message}` : message,
  }
}

/** What is prepared is what is wanted: attempts at another spec are over, and start anew when that is wanted again. */
const readied = (status: Status): Status => ({
  ...status,
  ...(status.preparedSpecHash !== undefined && { specHash: status.preparedSpecHash }),
})

function opened(
  { spec, status = {} }: HumanizerDataset,
  { attempt, specHash }: Decision & { kind: 'prepare' },
  now: Date,
): Status {
  const { retryToken: _, progress: __, ...rest } = status
  const fresh = status.specHash !== specHash || (spec.retryToken ?? '') !== (status.retryToken ?? '')
  const next: Attempt = { number: attempt, specHash, startTime: kubeTime(now) }
  return {
    ...rest,
    ...(spec.retryToken !== undefined && { retryToken: spec.retryToken }),
    specHash,
    failures: fresh ? 0 : (status.failures ?? 0),
    attempts: [...(status.attempts ?? []), next].slice(-MAX_ATTEMPTS),
  }
}

function ended(
  { progress: _, ...status }: Status,
  { reason, podUid }: { reason: string; podUid?: string | undefined },
  now: Date,
): Status {
  const attempts = status.attempts ?? []
  const last = attempts.at(-1)
  if (!last || last.finishTime) return status
  return {
    ...status,
    attempts: [
      ...attempts.slice(0, -1),
      { ...last, finishTime: kubeTime(now), reason, ...(podUid && { podUID: podUid }) },
    ],
  }
}

function published(
  { spec }: HumanizerDataset,
  { digest, location, specHash, counts, sources, summary }: PreparationResult,
  now: Date,
): Status {
  return {
    digest,
    location,
    preparedSpecHash: specHash,
    preparedTime: kubeTime(now),
    format: spec.format,
    ...(counts && { counts, duplicatesPercent: duplicatesPercent(counts) }),
    sources: sources.map(({ name, revision, license, counts }) => ({
      name,
      revision,
      license: license.slice(0, LICENSE_CHARACTERS),
      ...(counts && { counts }),
    })),
    summary: summary.slice(0, SUMMARY_CHARACTERS),
  }
}

/** Copies among the texts that passed the human filter and cleaning, such as "3.1". */
function duplicatesPercent({
  exactDuplicates,
  nearDuplicates,
  read,
  notHuman,
  tooShort,
  tooLong,
  tooFewWords,
  otherLanguage,
  contaminated,
}: DataCounts): string {
  const clean = read - notHuman - tooShort - tooLong - tooFewWords - otherLanguage - contaminated
  return clean > 0 ? (((exactDuplicates + nearDuplicates) / clean) * 100).toFixed(1) : '0.0'
}

function preparedMessage({ spec: { review, storage } }: HumanizerDataset, status: Status): string {
  const { counts, digest, location } = status
  const waits = review.required && review.approvedDigest !== digest
  const rows = `${counts?.train ?? 0} rows to train on, ${counts?.validation ?? 0} to validate on, ${digest}`
  const report = `report: ${location}/report.html on claim ${storage.claimName}`
  return `${rows}; ${report}${waits ? '; runs wait until spec.review.approvedDigest is this digest' : ''}`
}

const leaving = (pods: readonly string[]): string =>
  pods.length > 0
    ? `waiting until pods of earlier attempts are gone: ${pods.join(', ')}`
    : 'deleting Jobs of earlier attempts'
