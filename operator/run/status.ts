import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { RunReason } from '../api/run-reasons.ts'
import { kubeTime, readyFrom, type Summary, setCondition } from '../kube/conditions.ts'
import { checklistOf, type Others } from './checklist.ts'
import type { Attempt, Decision, EndOfAttempt, Status } from './decide.ts'
import { phaseOf, reported } from './report.ts'
import { configDigest, modelClaim } from './train-config.ts'

const MAX_ATTEMPTS = 10

/** The status after `decision`; written before it is carried out. A run that started has its checklist in it. */
export function statusAfter(run: QLoRARun, decision: Decision, now: Date, others: Others): Status {
  const status = decided(run, decision, now)
  const leaves = run.metadata.deletionTimestamp !== undefined
  return !status.startTime || leaves ? status : { ...status, checklist: checklistOf(run, status, others) }
}

function decided(run: QLoRARun, decision: Decision, now: Date): Status {
  const status = run.status ?? {}
  const going = (next: Status, reason: string, message: string) =>
    said(run, next, { state: 'reconciling', reason, message }, now)
  switch (decision.kind) {
    case 'rest':
    case 'hold':
      return same(run)
    case 'wait':
      return going(status, decision.reason, decision.message)
    case 'stall':
      return said(run, status, { state: 'stalled', reason: decision.reason, message: decision.message }, now)
    case 'begin': {
      const { digest, location, format, checklist } = decision.dataset
      const pinned = {
        startTime: kubeTime(now),
        datasetDigest: digest,
        datasetLocation: location,
        format,
        checklist: [...checklist],
        failures: 0,
        ...heeded(run),
      }
      return going(
        { ...status, ...pinned },
        RunReason.Started,
        `training on dataset ${run.spec.datasetRef.name}, ${digest}`,
      )
    }
    case 'fetch': {
      const { fetch } = status
      if (fetch?.number === decision.attempt && !fetch.finishTime) return same(run)
      const { failures = 0, fruitless = 0 } = fetch ?? {}
      const next = { number: decision.attempt, startTime: kubeTime(now), failures, fruitless }
      return going(
        { ...status, fetch: next },
        RunReason.Fetching,
        `attempt ${decision.attempt} of fetching the base model`,
      )
    }
    case 'endFetch': {
      return going(
        { ...status, ...fetchEnded(status, decision.reason, decision.counts, now) },
        decision.reason,
        decision.message,
      )
    }
    case 'pinModel': {
      const { path, digest, revision, name } = decision.model
      const claimName = modelClaim(run)
      const model = { path, digest, revision, name, ...(claimName && { claimName }) }
      const next = { ...status, ...fetchEnded(status, 'Completed', false, now), model }
      return going(next, RunReason.Scheduling, `base model ${name} is at ${path}`)
    }
    case 'train':
      return trainingOpened(run, decision, now)
    case 'follow':
      return followed(run, decision, now)
    case 'endAttempt': {
      const failures = (status.failures ?? 0) + (decision.counts ? 1 : 0)
      const message = decision.counts
        ? `${decision.reason}: ${decision.message}; failure ${failures} of at most ${run.spec.maxRetries}`
        : decision.message
      return going(
        { ...ended(run, status, decision, now), failures },
        decision.counts ? RunReason.Retrying : decision.reason,
        message,
      )
    }
    case 'suspend':
      return going(
        ended(run, status, { reason: RunReason.Suspended }, now),
        RunReason.Suspended,
        'spec.suspend is true; waiting until the trainer has sealed a checkpoint and left',
      )
    case 'clear':
      return decision.quietly ? same(run) : going(status, RunReason.Stopping, leaving(decision.remains.pods))
    case 'succeed': {
      const end = { reason: 'Completed', report: decision.report, podUid: decision.podUid }
      const next = { ...closed(run, status, end, now), completionTime: kubeTime(now) }
      return said(
        run,
        next,
        { state: 'ready', reason: RunReason.Succeeded, message: succeededMessage(next) },
        now,
        'True',
      )
    }
    case 'fail': {
      const next = decision.attempt
        ? { ...ended(run, status, decision.attempt, now), failures: (status.failures ?? 0) + 1 }
        : { ...status, ...fetchEnded(status, decision.reason, true, now) }
      return said(
        run,
        { ...next, completionTime: kubeTime(now) },
        { state: 'stalled', reason: decision.reason, message: decision.message },
        now,
        'False',
      )
    }
    case 'restart': {
      const { completionTime: _, retryToken: __, ...rest } = status
      const next = {
        ...rest,
        failures: 0,
        ...heeded(run),
        ...(status.fetch && { fetch: { ...status.fetch, failures: 0, fruitless: 0 } }),
      }
      return going(next, RunReason.Retrying, 'spec.retryToken has changed')
    }
  }
}

const heeded = ({ spec }: QLoRARun): { retryToken?: string } =>
  spec.retryToken === undefined ? {} : { retryToken: spec.retryToken }

function said(
  run: QLoRARun,
  status: Status,
  summary: Summary,
  now: Date,
  succeeded: 'True' | 'False' | 'Unknown' = 'Unknown',
): Status {
  const observedGeneration = run.metadata.generation ?? 0
  const { reason, message } = summary
  const ready = readyFrom(status.conditions, summary, observedGeneration, now)
  const conditions = setCondition(
    ready,
    { type: 'Succeeded', status: succeeded, reason, message, observedGeneration },
    now,
  )
  return { ...status, observedGeneration, conditions }
}

/** What was said stands, for the spec as it now is. */
function same({ status = {}, metadata: { generation = 0 } }: QLoRARun): Status {
  if (!status.conditions) return status
  const conditions = status.conditions.map((condition) => ({ ...condition, observedGeneration: generation }))
  return { ...status, observedGeneration: generation, conditions }
}

function trainingOpened(run: QLoRARun, { attempt, plan }: Decision & { kind: 'train' }, now: Date): Status {
  const status = run.status ?? {}
  const last = status.attempts?.at(-1)
  if (last?.number === attempt && !last.finishTime) return same(run)
  const next: Attempt = { number: attempt, ...plan, startTime: kubeTime(now) }
  const opened = {
    ...status,
    configDigest: status.configDigest ?? configDigest(run),
    attempt,
    attempts: [...(status.attempts ?? []), next].slice(-MAX_ATTEMPTS),
  }
  return said(
    run,
    opened,
    { state: 'reconciling', reason: RunReason.Scheduling, message: `attempt ${attempt}: making the Job` },
    now,
  )
}

const doing: Readonly<Partial<Record<RunReason, string>>> = {
  Preparing: 'reads, packs and loads',
  MeasuringBaseline: 'measures the untouched base',
  Evaluating: 'has made all steps and evaluates what came of them',
  Stopping: 'seals a checkpoint',
}

function followed(run: QLoRARun, { report, podUid, podName }: Decision & { kind: 'follow' }, now: Date): Status {
  const heard = run.status?.progress && run.status.attempts?.at(-1)?.podUID === podUid
  if (!report && heard) return same(run)
  const attempted = withLast(run.status ?? {}, { podUID: podUid })
  const status = report ? reported(run, attempted, report, now) : attempted
  const reason = (report && phaseOf(report)) ?? RunReason.Training
  const silence = report ? '' : ', which does not answer: progress is unknown'
  const message = `attempt ${status.attempt} ${doing[reason] ?? 'trains'} in pod ${podName}${silence}`
  return said(run, status, { state: 'reconciling', reason, message }, now)
}

function ended(run: QLoRARun, status: Status, end: EndOfAttempt, now: Date): Status {
  const last = status.attempts?.at(-1)
  return !last || last.finishTime ? status : closed(run, status, end, now)
}

/** Closes the newest attempt, even one that was given up before its result was seen. */
function closed(run: QLoRARun, status: Status, { reason, report, podUid }: EndOfAttempt, now: Date): Status {
  const next = withLast(status, { finishTime: kubeTime(now), reason, ...(podUid && { podUID: podUid }) })
  return report ? reported(run, next, report, now, 'always') : next
}

function withLast(status: Status, fields: Partial<Attempt>): Status {
  const attempts = status.attempts ?? []
  const last = attempts.at(-1)
  return last ? { ...status, attempts: [...attempts.slice(0, -1), { ...last, ...fields }] } : status
}

function fetchEnded({ fetch }: Status, reason: string, counts: boolean, now: Date): Pick<Status, 'fetch'> {
  if (!fetch) return {}
  const failures = (fetch.failures ?? 0) + (counts ? 1 : 0)
  const fruitless = reason === 'Completed' ? 0 : (fetch.fruitless ?? 0) + 1
  return { fetch: { ...fetch, finishTime: kubeTime(now), reason, failures, fruitless } }
}

function succeededMessage({ progress, checkpoints, stoppedEarly }: Status): string {
  const best = checkpoints?.find(({ best }) => best)
  const steps = `step ${progress?.step ?? 0} of ${progress?.totalSteps ?? 0}`
  const early = stoppedEarly ? ', stopped early' : ''
  return `${steps}${early}; ${best ? `best is ${best.name} with loss ${best.evalLoss ?? 'unknown'}` : `${checkpoints?.length ?? 0} checkpoints`}`
}

const leaving = (pods: readonly string[]): string =>
  pods.length > 0
    ? `waiting until pods of earlier attempts are gone: ${pods.join(', ')}`
    : 'deleting Jobs of earlier attempts'
