import { MergeConfig } from '#proto/humanizer/trainer/v1/merge.ts'
import type { Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { attemptConfig, attemptJob } from '../workload/job.ts'
import { ownerOf } from '../workload/names.ts'
import {
  type ClaimUse,
  type Mount,
  modelSourceMount,
  type PodOptions,
  type WorkloadSettings,
  withoutDevices,
  workloadPod,
} from '../workload/pod.ts'
import type { Adapter, Release } from './adapter.ts'

/** One attempt of a Job that works on an adapter: merges or pushes it. */
export interface AdapterWork {
  readonly adapter: Adapter
  readonly attempt: number
  readonly claim: ClaimUse
}

interface Described extends AdapterWork {
  readonly name: string
  readonly command: 'merge' | 'upload'
  readonly config: unknown
  readonly settings: WorkloadSettings
  readonly mounts?: readonly Mount[]
}

/** `<release>-<work>-<digest8>-<attempt>`. */
export const adapterJobName = (release: string, work: 'merge' | 'push', digest: string, attempt: number): string =>
  `${release}-${work}-${digest.slice('sha256:'.length, 'sha256:'.length + 8)}-${attempt}`

/** What the configuration of every such Job begins with: which adapter, and whose work it is. */
export function adapterConfig(
  release: Release,
  { adapter: { model, digest, path }, attempt }: AdapterWork,
  reclaim: Reclaim,
): MergeConfig {
  const { namespace, name, uid } = ownerOf(release)
  return MergeConfig.fromPartial({
    owner: { namespace, name, uid },
    attempt,
    ...(model && { model }),
    digest,
    sourcePath: path ?? '',
    reclaim,
  })
}

const graceSeconds = 15

/** Its ConfigMap and its Job. On a CPU: nothing is trained. */
export function adapterJob(release: Release, work: Described): KubeObject[] {
  const { name, command, config, attempt, adapter, claim, settings, mounts = [] } = work
  const owner = ownerOf(release)
  const ofModel = adapter.model?.claimName ? [modelSourceMount(adapter.model.claimName)] : []
  const template = workloadPod({
    owner,
    settings,
    command,
    configMapName: name,
    claim,
    mounts: [...ofModel, ...mounts],
    options: withoutDevices(release.spec.pod as PodOptions),
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: graceSeconds,
  })
  return [attemptConfig(owner, name, attempt, config), attemptJob(owner, name, attempt, template)]
}
