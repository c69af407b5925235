import { FetchConfig } from '#proto/humanizer/trainer/v1/model.ts'
import type { Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { attemptConfig, attemptJob } from '../workload/job.ts'
import { ownerOf } from '../workload/names.ts'
import {
  type ClaimUse,
  hubEnvironment,
  type Mount,
  modelSourceMount,
  tokenMount,
  type WorkloadSettings,
  withoutDevices,
  workloadPod,
} from '../workload/pod.ts'
import { fetchConfig, modelClaim, modelTokenFolder } from './train-config.ts'

export const fetchJobName = (runName: string, attempt: number): string => `${runName}-fetch-${attempt}`

const GRACE_SECONDS = 15

/** The ConfigMap and the Job that bring the base model into the claim. On a CPU, and with the only token: no GPU waits for a download. */
export function fetchChildren(
  run: QLoRARun,
  attempt: number,
  claim: ClaimUse,
  settings: WorkloadSettings,
  reclaim: Reclaim,
): KubeObject[] {
  const owner = ownerOf(run)
  const name = fetchJobName(owner.name, attempt)
  const template = workloadPod({
    owner,
    settings,
    command: 'fetch',
    configMapName: name,
    claim,
    mounts: modelMounts(run),
    options: withoutDevices(run.spec.pod),
    env: hubEnvironment(settings),
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: GRACE_SECONDS,
  })
  const config = FetchConfig.toJSON(fetchConfig(run, attempt, reclaim))
  return [attemptConfig(owner, name, attempt, config), attemptJob(owner, name, attempt, template)]
}

/** The base model's own claim, and the token of a private repository. */
function modelMounts(run: QLoRARun): Mount[] {
  const claimName = modelClaim(run)
  if (claimName) return [modelSourceMount(claimName)]
  const token = run.spec.baseModel.huggingFace?.tokenSecretRef
  return token ? [tokenMount(modelTokenFolder, token)] : []
}
