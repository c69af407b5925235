import { PrepareConfig } from '#proto/humanizer/trainer/v1/preparation.ts'
import type { Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { attemptConfig, attemptJob } from '../workload/job.ts'
import { type Owner, ownerOf } from '../workload/names.ts'
import {
  type ClaimUse,
  hubEnvironment,
  type Mount,
  tokenMount,
  type WorkloadSettings,
  workloadPod,
} from '../workload/pod.ts'
import { prepareConfig, type SpecSource, sourceFolder, sourcesRead } from './prepare-config.ts'

export const prepareJobName = (datasetName: string, attempt: number): string => `${datasetName}-prepare-${attempt}`

/** Seconds that a preparation gets to leave when it is stopped; it writes nothing that counts before it is finished. */
const GRACE_SECONDS = 15

/** The ConfigMap and the Job of one attempt, in the order in which they are made. */
export function prepareChildren(
  dataset: HumanizerDataset,
  attempt: number,
  claim: ClaimUse,
  settings: WorkloadSettings & { readonly publicKeyPem: string },
  reclaim: Reclaim,
): KubeObject[] {
  const owner: Owner = ownerOf(dataset)
  const name = prepareJobName(dataset.metadata.name, attempt)
  const config = PrepareConfig.toJSON(prepareConfig(dataset, attempt, settings.publicKeyPem, reclaim))
  const template = workloadPod({
    owner,
    settings,
    command: 'prepare',
    configMapName: name,
    claim,
    mounts: sourcesRead(dataset.spec).flatMap(sourceMounts),
    options: dataset.spec.pod,
    env: hubEnvironment(settings),
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: GRACE_SECONDS,
  })
  return [attemptConfig(owner, name, attempt, config), attemptJob(owner, name, attempt, template)]
}

function sourceMounts(source: SpecSource): Mount[] {
  const at = { name: `source-${source.name}`, mountPath: sourceFolder(source), readOnly: true }
  const { volume, configMap, huggingFace } = source
  if (volume) return [{ ...at, source: { persistentVolumeClaim: { claimName: volume.claimName } } }]
  if (configMap)
    return [
      { ...at, source: { configMap: { name: configMap.name, items: [{ key: configMap.key, path: configMap.key }] } } },
    ]
  return huggingFace?.tokenSecretRef ? [tokenMount(source.name, huggingFace.tokenSecretRef)] : []
}
