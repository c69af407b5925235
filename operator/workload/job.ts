import type { KubeObject } from '../kube/cluster.ts'
import { attemptLabel, childMetadata, type Owner, queueLabels, queueNameLabel } from './names.ts'
import type { PodTemplate } from './pod.ts'

/** TCP port of the gRPC server of every pod that the operator makes. */
export const trainerPort = 9443

/**
 * A Job of one attempt. Its own retries are off: the operator decides what counts as a failure. A disruption
 * (preemption, eviction, lost node) is not a failure, and the Job itself makes the next pod, after the old one is gone.
 */
export function attemptJob(owner: Owner, name: string, attempt: number, template: PodTemplate): KubeObject {
  const labels = { [attemptLabel]: String(attempt) }
  const queue = queueLabels(template.metadata.labels)
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: childMetadata(owner, name, { ...queue, ...labels }),
    spec: {
      ...(queue[queueNameLabel] && { suspend: true }),
      backoffLimit: 0,
      completions: 1,
      parallelism: 1,
      podReplacementPolicy: 'Failed',
      podFailurePolicy: {
        rules: [{ action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }],
      },
      template: { ...template, metadata: { labels: { ...template.metadata.labels, ...labels } } },
    },
  }
}

/** The configuration of one attempt: written once, so a pod that starts late reads what was decided. */
export function attemptConfig(owner: Owner, name: string, attempt: number, config: unknown): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: childMetadata(owner, name, { [attemptLabel]: String(attempt) }),
    immutable: true,
    data: { 'config.json': JSON.stringify(config) },
  }
}
