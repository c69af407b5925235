import { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'
import { ownContainer, type Pod } from './pod-state.ts'

/**
 * How an attempt ended.
 * - completed: the work is sealed, and the pod said so itself.
 * - disrupted: ended from outside; says nothing about the work and never counts.
 * - failed: ended by itself, or was killed; `reason` is one of job_result.proto, or ContainerOutOfMemory, Killed,
 *   ResultMissing.
 */
export type Ending =
  | { readonly kind: 'completed'; readonly result: JobResult }
  | { readonly kind: 'disrupted'; readonly message: string; readonly result?: JobResult | undefined }
  | {
      readonly kind: 'failed'
      readonly reason: string
      readonly message: string
      readonly result?: JobResult | undefined
    }

/**
 * What can help after a failure.
 * - nothing: the same input fails the same way; a person must act.
 * - time: somebody or something outside can cure it; try again slowly, for ever.
 * - lessMemory: a smaller plan may fit.
 * - again: may be chance; try again within the limit.
 */
type Remedy = 'nothing' | 'time' | 'lessMemory' | 'again'

const remedies: Readonly<Record<string, Remedy>> = {
  ConfigurationInvalid: 'nothing',
  SourceInvalid: 'nothing',
  NothingFits: 'nothing',
  NoValidation: 'nothing',
  NonFinite: 'nothing',
  VerificationFailed: 'nothing',
  DriverUnusable: 'nothing',
  NotFound: 'time',
  AccessDenied: 'time',
  Unavailable: 'time',
  StorageFull: 'time',
  Locked: 'time',
  DeviceOutOfMemory: 'lessMemory',
  ContainerOutOfMemory: 'lessMemory',
}

/** Reasons that are not listed (Internal, StorageFailed, DeviceLost, Killed, ResultMissing, a newer image's) may be chance. */
export const remedyOf = (reason: string): Remedy => remedies[reason] ?? 'again'

const SIGTERM_EXIT = 143
const SIGKILL_EXIT = 137

/** Reads the end of a pod that has ended. A result of another owner or attempt is as good as none. */
export function endingOf(pod: Pod, ownerUid: string, attempt: number): Ending {
  const { status = {} } = pod
  const terminated = ownContainer(status.containerStatuses)?.state?.terminated
  const result = resultIn(terminated?.message, ownerUid, attempt)
  if (result?.reason === 'Completed' && terminated?.exitCode === 0) return { kind: 'completed', result }
  const disruption = disruptionOf(pod)
  if (disruption) return { kind: 'disrupted', message: disruption, result }
  if (!terminated)
    return {
      kind: 'disrupted',
      message: `the pod ended without running: ${status.message ?? status.reason ?? 'no reason given'}`,
    }
  const { exitCode, reason } = terminated
  if (reason === 'OOMKilled')
    return {
      kind: 'failed',
      reason: 'ContainerOutOfMemory',
      message: 'the container used more memory than spec.pod.resources.limits.memory allows',
      result,
    }
  if (exitCode === SIGTERM_EXIT) return { kind: 'disrupted', message: 'the container was asked to stop', result }
  if (exitCode === SIGKILL_EXIT)
    return { kind: 'failed', reason: 'Killed', message: 'the process was killed (SIGKILL)', result }
  if (result && result.reason !== 'Completed')
    return { kind: 'failed', reason: result.reason, message: result.message, result }
  if (exitCode === 0)
    return { kind: 'failed', reason: 'ResultMissing', message: 'the container exited with 0 and told no result' }
  return {
    kind: 'failed',
    reason: 'Internal',
    message: `the container exited with ${exitCode} and told no result; see its log`,
  }
}

function resultIn(message: string | undefined, ownerUid: string, attempt: number): JobResult | undefined {
  if (!message) return undefined
  try {
    const result = JobResult.fromJSON(JSON.parse(message))
    return result.ownerUid === ownerUid && result.attempt === attempt ? result : undefined
  } catch {
    return undefined // not ours: the process died before it could tell
  }
}

/** Reasons that the kubelet and the control plane give to a pod which they ended. */
const outside = [
  'Evicted',
  'NodeLost',
  'NodeShutdown',
  'Shutdown',
  'Terminated',
  'Preempting',
  'NodeAffinity',
  'UnexpectedAdmissionError',
]

/** Why the pod was ended from outside, if it was. */
export function disruptionOf({ metadata, status = {} }: Pod): string | undefined {
  const target = status.conditions?.find(({ type, status }) => type === 'DisruptionTarget' && status === 'True')
  if (target)
    return `the pod was disrupted: ${target.reason ?? 'no reason given'}${target.message ? `: ${target.message}` : ''}`
  if (status.reason && outside.includes(status.reason))
    return `the pod was ended: ${status.reason}${status.message ? `: ${status.message}` : ''}`
  if (metadata.deletionTimestamp) return 'the pod was deleted'
  return undefined
}
