import { PushConfig } from '#proto/humanizer/trainer/v1/push.ts'
import type { Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { type Mount, secretFolder, secretMount, tokenFile, tokenMount, type WorkloadSettings } from '../workload/pod.ts'
import type { Release } from './adapter.ts'
import { type AdapterWork, adapterConfig, adapterJob, adapterJobName } from './adapter-job.ts'

type Push = NonNullable<Release['spec']['push']>

export const pushJobName = (release: string, digest: string, attempt: number): string =>
  adapterJobName(release, 'push', digest, attempt)

/** Where to, as people and status.pushed name it. */
export function destinationOf({ registry, s3 }: Push): string {
  if (!s3) return registry?.repository ?? ''
  const { bucket, prefix, endpoint } = s3
  const path = prefix ? `${bucket}/${prefix}` : bucket
  return endpoint ? `${endpoint}/${path}` : `s3://${path}`
}

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
  const config = PushConfig.fromPartial({
    ...adapterConfig(release, work, reclaim),
    artifact: push.artifact,
    ...destination(push),
  })
  const mounts = secretMounts(push)
  return adapterJob(release, { ...work, name, command: 'upload', config: PushConfig.toJSON(config), settings, mounts })
}

function destination({ registry, s3 }: Push): Pick<PushConfig, 'registry' | 's3'> {
  const nowhere = { registry: undefined, s3: undefined }
  if (registry) {
    const { repository, plainHttp, secretRef } = registry
    return { ...nowhere, registry: { repository, plainHttp, authFile: secretRef ? tokenFile(directory) : '' } }
  }
  if (!s3) return nowhere
  const { bucket, region, prefix = '', endpoint = '' } = s3
  return { ...nowhere, s3: { bucket, prefix, region, endpoint, credentialsFolder: secretFolder(directory) } }
}

function secretMounts({ registry, s3 }: Push): Mount[] {
  if (s3) return [secretMount(directory, s3.secretRef.name)]
  return registry?.secretRef ? [tokenMount(directory, registry.secretRef)] : []
}
