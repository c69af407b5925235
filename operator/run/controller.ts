import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { Controller } from '../controller/controller.ts'
import type { Cluster } from '../kube/cluster.ts'
import type { Trust } from '../trust/trust.ts'
import { deleteJobs, makeChildren, type Refusal } from '../workload/children.ts'
import type { WorkloadSettings } from '../workload/pod.ts'
import { reclaimWithSweep } from '../workload/reclaim.ts'
import { record } from '../workload/record.ts'
import { isReleaseOf } from './checklist.ts'
import type { Decision } from './decide.ts'
import { fetchChildren } from './fetch-job.ts'
import { type AskTrainer, observe } from './observe.ts'
import { type RunEffects, reconcileRun } from './reconcile.ts'
import { trainChildren } from './train-job.ts'
import { TrainerClient } from './trainer-client.ts'

/** What the operator's settings say about training. */
interface RunSettings extends WorkloadSettings {
  readonly publicKeyPem: string
}

function runEffects(cluster: Cluster, ask: AskTrainer, settings: RunSettings): RunEffects {
  return {
    observe: (run, now) => observe(cluster, ask, run, now),
    record: (run, status) => record(cluster, run, status),
    act: (run, decision) => act(cluster, settings, run, decision),
  }
}

async function act(
  cluster: Cluster,
  settings: RunSettings,
  run: QLoRARun,
  decision: Decision,
): Promise<Refusal | undefined> {
  const { namespace = '' } = run.metadata
  switch (decision.kind) {
    case 'fetch': {
      const reclaim = await reclaimWithSweep(cluster, run)
      return makeChildren(cluster, run, fetchChildren(run, decision.attempt, decision.claim, settings, reclaim))
    }
    case 'train': {
      const { attempt, plan, claim } = decision
      const reclaim = await reclaimWithSweep(cluster, run)
      return makeChildren(cluster, run, trainChildren(run, attempt, plan, claim, settings, reclaim))
    }
    case 'clear':
    case 'suspend':
      await deleteJobs(cluster, namespace, decision.remains.jobs)
      return undefined
    case 'rest':
    case 'hold':
    case 'wait':
    case 'stall':
    case 'begin':
    case 'endFetch':
    case 'pinModel':
    case 'follow':
    case 'endAttempt':
    case 'succeed':
    case 'fail':
    case 'restart':
      return undefined
  }
}

/** The controller of QLoRARuns. */
export function runController(cluster: Cluster, settings: RunSettings, trust: Trust): Controller<QLoRARun> {
  const trainers = new TrainerClient(trust)
  const effects = runEffects(cluster, (run, pod, now) => trainers.ask(run, pod, now), settings)
  const ownerLabel = 'humanizer.dev/run'
  return {
    name: 'run',
    kind: { apiVersion: 'humanizer.dev/v1alpha1', kind: 'QLoRARun', plural: 'qloraruns' },
    children: [
      { apiVersion: 'batch/v1', kind: 'Job', plural: 'jobs', ownerLabel },
      { apiVersion: 'v1', kind: 'Pod', plural: 'pods', ownerLabel },
    ],
    related: [
      {
        apiVersion: 'humanizer.dev/v1alpha1',
        kind: 'HumanizerDataset',
        plural: 'humanizerdatasets',
        // Before the start its state, later its review.
        concerns: ({ spec }, dataset) => spec.datasetRef.name === dataset.metadata.name,
      },
      {
        apiVersion: 'humanizer.dev/v1alpha1',
        kind: 'AdapterRelease',
        plural: 'adapterreleases',
        concerns: (run, release) => isReleaseOf(run, release as AdapterRelease),
      },
    ],
    reconcile: (run, now) => reconcileRun(run, effects, now),
    forget: (key) => trainers.forget(key),
  }
}
