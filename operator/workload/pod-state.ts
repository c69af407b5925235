import { WorkloadReason } from '../api/workload-reasons.ts'
import type { KubeObject, ObjectMeta } from '../kube/cluster.ts'
import { containerName } from './pod.ts'

interface ContainerStatus {
  readonly name?: string
  readonly ready?: boolean
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string }
    readonly running?: { readonly startedAt?: string }
    readonly terminated?: {
      readonly exitCode: number
      readonly reason?: string
      readonly message?: string
      readonly finishedAt?: string
    }
  }
}

interface PodCondition {
  readonly type: string
  readonly status: string
  readonly reason?: string
  readonly message?: string
  readonly lastTransitionTime?: string
}

/** core/v1 Pod, as far as it is read. */
export interface Pod extends KubeObject {
  metadata: ObjectMeta
  spec?: {
    readonly volumes?: readonly {
      readonly secret?: { readonly secretName: string; readonly items?: readonly { readonly key: string }[] }
    }[]
  }
  status?: {
    readonly phase?: string
    readonly reason?: string
    readonly message?: string
    readonly podIP?: string
    readonly conditions?: readonly PodCondition[]
    readonly containerStatuses?: readonly ContainerStatus[]
  }
}

type PodState =
  /** Not running yet; reason and message are for people. */
  | { readonly kind: 'waiting'; readonly reason: WorkloadReason; readonly message: string }
  | { readonly kind: 'running' }
  | { readonly kind: 'ended' }

/** Our own among the containers of a pod: a mesh or an agent may have put others beside it, under any name. */
export const ownContainer = <Status extends { readonly name?: string }>(
  statuses: readonly Status[] = [],
): Status | undefined => statuses.find(({ name }) => name === containerName) ?? statuses[0]

/** Seconds that volumes may take to be mounted before the status speaks of it. */
const MOUNT_SECONDS = 15

/** Where our container of a pod is. */
export function podState(pod: Pod, now: Date): PodState {
  const { phase, conditions = [], containerStatuses } = pod.status ?? {}
  const state = ownContainer(containerStatuses)?.state
  if (state?.terminated || phase === 'Failed' || phase === 'Succeeded') return { kind: 'ended' }
  if (state?.running) return { kind: 'running' }
  const scheduled = conditions.find(({ type }) => type === 'PodScheduled')
  if (scheduled?.status !== 'True') return { kind: 'waiting', ...placement(pod, scheduled?.message) }
  return { kind: 'waiting', ...startup(pod, state?.waiting, scheduled, now) }
}

/** What keeps a pod's volumes from every node, by the scheduler's words; undefined when they speak of something else. */
export function volumeObstacle(words: string): 'ClaimNotFound' | 'StorageNotShared' | undefined {
  if (/persistentvolumeclaim "[^"]+" not found/.test(words)) return 'ClaimNotFound'
  // A volume that lies on one node, and pods that must stay together on it.
  return /pod affinity rules|volume node affinity conflict/.test(words) ? 'StorageNotShared' : undefined
}

function placement(pod: Pod, words: string | undefined): { reason: WorkloadReason; message: string } {
  const message = words ?? `pod ${pod.metadata.name} waits for a node`
  return { reason: volumeObstacle(message) ?? WorkloadReason.Scheduling, message }
}

function startup(
  pod: Pod,
  waiting: { readonly reason?: string; readonly message?: string } | undefined,
  scheduled: PodCondition,
  now: Date,
): { reason: WorkloadReason; message: string } {
  const words = waiting?.message ?? ''
  switch (waiting?.reason) {
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'InvalidImageName':
    case 'ErrImageNeverPull':
      return { reason: WorkloadReason.ImageUnavailable, message: `${waiting.reason}: ${words}` }
    case 'CreateContainerConfigError':
    case 'CreateContainerError':
    case 'RunContainerError':
      return { reason: WorkloadReason.ContainerNotCreated, message: `${waiting.reason}: ${words}` }
  }
  if (waitsForVolumes(pod, scheduled, now)) return unmounted(pod)
  return { reason: WorkloadReason.Starting, message: `pod ${pod.metadata.name} starts on its node` }
}

/** The sandbox is made only after every volume is mounted. */
function waitsForVolumes(pod: Pod, scheduled: PodCondition, now: Date): boolean {
  const sandbox = pod.status?.conditions?.find(({ type }) => type === 'PodReadyToStartContainers')
  const since = Date.parse(scheduled.lastTransitionTime ?? '')
  return sandbox?.status === 'False' && now.getTime() - since > MOUNT_SECONDS * 1000
}

function unmounted(pod: Pod): { reason: WorkloadReason; message: string } {
  const secrets = (pod.spec?.volumes ?? []).flatMap(({ secret }) => (secret ? [secret] : []))
  if (secrets.length === 0)
    return {
      reason: WorkloadReason.VolumeNotMounted,
      message: `a volume of pod ${pod.metadata.name} is not mounted yet`,
    }
  const named = secrets
    .map(({ secretName, items }) => (items ? `${secretName} (key ${items[0]?.key})` : secretName))
    .join(', ')
  return {
    reason: WorkloadReason.SecretMissing,
    message: `a volume of pod ${pod.metadata.name} is not mounted yet; it needs Secret ${named}. It goes on by itself once that is there`,
  }
}
