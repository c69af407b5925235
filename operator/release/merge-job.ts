import { MergeConfig } from '#proto/humanizer/trainer/v1/merge.ts'
import type { Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'
import type { KubeObject } from '../kube/cluster.ts'
import type { WorkloadSettings } from '../workload/pod.ts'
import type { Release } from './adapter.ts'
import { type AdapterWork, adapterConfig, adapterJob, adapterJobName } from './adapter-job.ts'

export const mergeJobName = (release: string, digest: string, attempt: number): string =>
  adapterJobName(release, 'merge', digest, attempt)

/** The ConfigMap and the Job that write an adapter into its base. */
export function mergeChildren(
  release: Release,
  work: AdapterWork,
  settings: WorkloadSettings,
  reclaim: Reclaim,
): KubeObject[] {
  const name = mergeJobName(release.metadata.name, work.adapter.digest, work.attempt)
  const config = MergeConfig.toJSON(adapterConfig(release, work, reclaim))
  return adapterJob(release, { ...work, name, command: 'merge', config, settings })
}
