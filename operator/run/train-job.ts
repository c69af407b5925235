import { TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import type { Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { attemptConfig, attemptJob, trainerPort } from '../workload/job.ts'
import { ownerOf } from '../workload/names.ts'
import { type ClaimUse, modelSourceMount, tokenMount, type WorkloadSettings, workloadPod } from '../workload/pod.ts'
import type { Plan } from './decide.ts'
import { modelClaim, trackingKeyFolder, trainConfig } from './train-config.ts'

export const trainJobName = (runName: string, attempt: number): string => `${runName}-train-${attempt}`

/** Seconds from SIGTERM to SIGKILL. The trainer abandons the open step and seals the last one, which takes about five. */
const GRACE_SECONDS = 60

/** The ConfigMap and the Job of one attempt, in the order in which they are made. */
export function trainChildren(
  run: QLoRARun,
  attempt: number,
  plan: Plan,
  claim: ClaimUse,
  settings: WorkloadSettings & { readonly publicKeyPem: string },
  reclaim: Reclaim,
): KubeObject[] {
  const owner = ownerOf(run)
  const name = trainJobName(owner.name, attempt)
  const claimName = modelClaim(run)
  const { mode, secretRef } = run.spec.logging.weightsAndBiases ?? {}
  const trackingKey = mode === 'Offline' ? undefined : secretRef
  const template = workloadPod({
    owner,
    settings,
    command: 'train',
    configMapName: name,
    claim,
    mounts: [
      ...(claimName ? [modelSourceMount(claimName)] : []),
      ...(trackingKey ? [tokenMount(trackingKeyFolder, trackingKey, true)] : []),
    ],
    options: run.spec.pod,
    container: {
      ports: [{ name: 'grpc', containerPort: trainerPort }],
      // Tells "has not got as far as listening" from "the operator cannot reach it": the kubelet is on the same node.
      readinessProbe: { tcpSocket: { port: trainerPort }, periodSeconds: 10 },
    },
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: GRACE_SECONDS,
  })
  const config = TrainConfig.toJSON(trainConfig(run, attempt, plan, settings.publicKeyPem, reclaim))
  return [attemptConfig(owner, name, attempt, config), attemptJob(owner, name, attempt, template)]
}
