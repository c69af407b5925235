import { PushConfig } from '#proto/humanizer/trainer/v1/push.ts'
import type { Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { type Mount, tokenFile, tokenMount, type WorkloadSettings } from '../workload/pod.ts'
import type { Release } from './adapter.ts'
import { type AdapterWork, adapterConfig, adapterJob, adapterJobName } from './adapter-job.ts'

type Push = NonNullable<Release['spec']['push']>

export const pushJobName = (release: string, digest: string, attempt: number): string =>
  adapterJobName(release, 'push', digest, attempt)

/** Where to, as people and status.pushed name it. */
export const destinationOf = ({ registry }: Push): string => registry.repository

const directory = 'push'

/** The ConfigMap and the Job that push an adapter to where `push` says. */
export function pushChildren(
  release: Release,
  push: Push,
  work: AdapterWork,
  settings: WorkloadSettings,
  reclaim: Reclaim,
): KubeObject[] {
  const name = pushJobName(release.metadata.name, work.adapter.digest, work.attempt)
  const { artifact, registry } = push
  const { repository, plainHttp, secretRef } = registry
  const authFile = secretRef ? tokenFile(directory) : ''
  const mounts: readonly Mount[] = secretRef ? [tokenMount(directory, secretRef)] : []
  const config = PushConfig.fromPartial({
    ...adapterConfig(release, work, reclaim),
    artifact,
    registry: { repository, plainHttp, authFile },
  })
  return adapterJob(release, { ...work, name, command: 'upload', config: PushConfig.toJSON(config), settings, mounts })
}
