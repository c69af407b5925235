import { MergeConfig } from '#proto/humanizer/trainer/v1/merge.ts'
import type { Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { attemptConfig, attemptJob } from '../workload/job.ts'
import { ownerOf } from '../workload/names.ts'
import {
  type ClaimUse,
  modelSourceMount,
  type PodOptions,
  type WorkloadSettings,
  withoutDevices,
  workloadPod,
} from '../workload/pod.ts'
import type { Adapter, Release } from './adapter.ts'

/** `<release>-merge-<digest8>-<attempt>`. */
export const mergeJobName = (release: string, digest: string, attempt: number): string =>
  `${release}-merge-${digest.slice('sha256:'.length, 'sha256:'.length + 8)}-${attempt}`

const graceSeconds = 15

/** The ConfigMap and the Job that write `adapter` into its base. On a CPU: nothing is trained. */
export function mergeChildren(
  release: Release,
  adapter: Adapter,
  attempt: number,
  claim: ClaimUse,
  settings: WorkloadSettings,
  reclaim: Reclaim,
): KubeObject[] {
  const owner = ownerOf(release)
  const name = mergeJobName(owner.name, adapter.digest, attempt)
  const { model, digest, path } = adapter
  const config = MergeConfig.fromPartial({
    owner: { namespace: owner.namespace, name: owner.name, uid: owner.uid },
    attempt,
    ...(model && { model }),
    digest,
    sourcePath: path ?? '',
    reclaim,
  })
  const template = workloadPod({
    owner,
    settings,
    command: 'merge',
    configMapName: name,
    claim,
    mounts: model?.claimName ? [modelSourceMount(model.claimName)] : [],
    options: withoutDevices(release.spec.pod as PodOptions),
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: graceSeconds,
  })
  return [attemptConfig(owner, name, attempt, MergeConfig.toJSON(config)), attemptJob(owner, name, attempt, template)]
}
