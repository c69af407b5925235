import { WorkloadReason } from '../api/workload-reasons.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { disruptionOf, type Ending, endingOf } from './ending.ts'
import { attemptLabel } from './names.ts'
import { ownContainer, type Pod, podState } from './pod-state.ts'

/** batch/v1 Job, as far as it is read. */
export interface Job extends KubeObject {
  spec?: { readonly suspend?: boolean }
  status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[]
  }
}

/** The one running pod of an attempt. */
export interface RunningPod {
  readonly name: string
  readonly uid: string
  /** Absent until the network is up. */
  readonly ip?: string | undefined
  /** Whether the kubelet has seen its port listen. */
  readonly ready: boolean
  /** When the container started. */
  readonly since: Date
}

/** Where one attempt stands: its Job and its pods together. */
export type AttemptState =
  /** Neither Job nor pod: not made yet, or deleted by hand. */
  | { readonly kind: 'absent' }
  /** The Job is gone or going; pods remain. */
  | { readonly kind: 'leaving' }
  | { readonly kind: 'pending'; readonly reason: WorkloadReason; readonly message: string }
  | { readonly kind: 'running'; readonly pod: RunningPod }
  | { readonly kind: 'ended'; readonly ending: Ending; readonly podUid?: string | undefined }

const attemptOf = (object: KubeObject): number => Number(object.metadata.labels?.[attemptLabel])

/** Judges attempt `attempt` from the Job named `jobName` and the pods that carry its label. A Job that is Complete proves nothing: only a pod's own words do. */
export function attemptState(
  { jobName, attempt, ownerUid }: { readonly jobName: string; readonly attempt: number; readonly ownerUid: string },
  jobs: readonly Job[],
  allPods: readonly Pod[],
  now: Date,
): AttemptState {
  const job = jobs.find(({ metadata }) => metadata.name === jobName)
  const pods = podsOfJob(allPods, jobName).filter((pod) => attemptOf(pod) === attempt)
  const endings = pods
    .filter((pod) => podState(pod, now).kind === 'ended')
    .map((pod) => ({ pod, ending: endingOf(pod, ownerUid, attempt) }))
  const completed = endings.find(({ ending }) => ending.kind === 'completed')
  if (completed) return { kind: 'ended', ending: completed.ending, podUid: completed.pod.metadata.uid }
  if (!job || job.metadata.deletionTimestamp) return job || pods.length > 0 ? { kind: 'leaving' } : { kind: 'absent' }
  const newest = pods[0]
  if (isFinished(job)) {
    const last = endings[0]
    const lost: Ending = { kind: 'disrupted', message: `Job ${jobName} has ended and its pod is gone` }
    return { kind: 'ended', ending: last?.ending ?? lost, podUid: last?.pod.metadata.uid }
  }
  if (job.spec?.suspend)
    return { kind: 'pending', reason: WorkloadReason.Queued, message: `Job ${jobName} is held back by its queue` }
  if (!newest)
    return {
      kind: 'pending',
      reason: WorkloadReason.Scheduling,
      message: `Job ${jobName} has made no pod yet; its events tell of quota and admission`,
    }
  return judgeNewest(newest, ownerUid, attempt, now)
}

function judgeNewest(pod: Pod, ownerUid: string, attempt: number, now: Date): AttemptState {
  const state = podState(pod, now)
  switch (state.kind) {
    case 'waiting':
      return { kind: 'pending', reason: state.reason, message: state.message }
    case 'running':
      return { kind: 'running', pod: runningPod(pod) }
    case 'ended': {
      // The Job itself replaces a pod that carries DisruptionTarget; every other end is the end of the Job.
      const replaced = pod.status?.conditions?.some(
        ({ type, status }) => type === 'DisruptionTarget' && status === 'True',
      )
      if (replaced) return { kind: 'pending', reason: WorkloadReason.Disrupted, message: disruptionOf(pod) ?? '' }
      return { kind: 'ended', ending: endingOf(pod, ownerUid, attempt), podUid: pod.metadata.uid }
    }
  }
}

function runningPod(pod: Pod): RunningPod {
  const container = ownContainer(pod.status?.containerStatuses)
  return {
    name: pod.metadata.name,
    uid: pod.metadata.uid ?? '',
    ip: pod.status?.podIP,
    ready: container?.ready ?? false,
    since: new Date(container?.state?.running?.startedAt ?? pod.metadata.creationTimestamp ?? 0),
  }
}

const isFinished = (job: Job): boolean =>
  job.status?.conditions?.some(({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True') ??
  false

/** Newest first. Kubernetes labels the pods of a Job with its name. */
function podsOfJob(pods: readonly Pod[], jobName: string): Pod[] {
  return pods
    .filter(({ metadata }) => metadata.labels?.['batch.kubernetes.io/job-name'] === jobName)
    .sort((a, b) => (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? ''))
}

/** Everything of an owner that must be gone before its next attempt starts: two writers never share a folder. */
export interface Remains {
  /** Jobs to delete; absent from here once they are being deleted. */
  readonly jobs: readonly { readonly name: string; readonly uid: string }[]
  /** Names of pods that still exist. */
  readonly pods: readonly string[]
}

/** All Jobs and pods whose Job name passes `concerns`, and of the others those whose pod has not ended. */
export function remainsOf(
  jobs: readonly Job[],
  pods: readonly Pod[],
  now: Date,
  concerns: (jobName: string) => boolean,
): Remains {
  const jobOf = (pod: Pod) => pod.metadata.labels?.['batch.kubernetes.io/job-name'] ?? ''
  const remaining = pods.filter((pod) => concerns(jobOf(pod)) || podState(pod, now).kind !== 'ended')
  const busy = new Set(remaining.map(jobOf))
  return {
    jobs: jobs
      .filter(({ metadata }) => (concerns(metadata.name) || busy.has(metadata.name)) && !metadata.deletionTimestamp)
      .map(({ metadata }) => ({ name: metadata.name, uid: metadata.uid ?? '' })),
    pods: remaining.map(({ metadata }) => metadata.name).sort(),
  }
}
