import { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { ownContainer } from '../workload/pod-state.ts'
import type { ServingPod } from './observed.ts'

export interface ContainerStatus {
  readonly name?: string
  readonly restartCount: number
  readonly state?: {
    readonly running?: { readonly startedAt?: string }
    readonly waiting?: { readonly reason?: string; readonly message?: string }
  }
  readonly lastState?: {
    readonly terminated?: { readonly exitCode?: number; readonly reason?: string; readonly message?: string }
  }
}

/** core/v1 Pod, as far as it is read. */
export interface Pod extends KubeObject {
  status?: {
    phase?: string
    podIP?: string
    conditions?: { type: string; status: string; reason?: string; message?: string }[]
    containerStatuses?: ContainerStatus[]
  }
}

const startsNormally = new Set(['ContainerCreating', 'PodInitializing'])

/** Why a pod that is not Ready does not run: the scheduler's words, the kubelet's, or the last of its own container. */
export function troubleOf({ metadata, status }: Pod): ServingPod['trouble'] {
  const unscheduled = status?.conditions?.find((each) => each.type === 'PodScheduled' && each.status === 'False')
  if (unscheduled)
    return { kind: 'unschedulable', message: `pod ${metadata.name}: ${unscheduled.message ?? unscheduled.reason}` }
  const own = ownContainer(status?.containerStatuses)
  const others = status?.containerStatuses?.filter((each) => each !== own) ?? []
  for (const container of own ? [own, ...others] : []) {
    const trouble = containerTrouble(container)
    const which = container === own ? '' : `container ${container.name}: `
    if (trouble) return { ...trouble, message: `pod ${metadata.name}: ${which}${trouble.message}` }
  }
  return undefined
}

function containerTrouble({ state, lastState }: ContainerStatus): ServingPod['trouble'] {
  const { reason, message } = state?.waiting ?? {}
  const last = lastWords(lastState?.terminated)
  const stuck = reason !== undefined && !startsNormally.has(reason)
  if (!stuck && !last) return undefined
  const words = [stuck && reason, stuck && message, last?.message].filter(Boolean).join(': ')
  return { kind: last?.reason === 'NotFound' ? 'artifact' : 'container', message: words }
}

/** What a container that ended in failure left behind: the trainer image writes a JobResult. */
function lastWords(terminated: NonNullable<ContainerStatus['lastState']>['terminated']) {
  if (!terminated || terminated.exitCode === 0) return undefined
  const { exitCode, reason = '', message = '' } = terminated
  try {
    const result = JobResult.fromJSON(JSON.parse(message))
    return { reason: result.reason, message: `last exit ${exitCode} ${result.reason}: ${result.message}` }
  } catch {
    return { reason, message: `last exit ${exitCode} ${message || reason}` }
  }
}
