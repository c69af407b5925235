import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { Controller } from '../controller/controller.ts'
import type { Cluster } from '../kube/cluster.ts'
import type { Trust } from '../trust/trust.ts'
import { deleteJobs, makeChildren, makeClaim, type Refusal } from '../workload/children.ts'
import type { StorageSettings } from '../workload/claim.ts'
import type { WorkloadSettings } from '../workload/pod.ts'
import { reclaimWithSweep } from '../workload/reclaim.ts'
import { record } from '../workload/record.ts'
import type { Decision } from './decide.ts'
import { observe } from './observe.ts'
import { type AskPreparation, preparationClient } from './preparation-client.ts'
import { prepareChildren } from './prepare-job.ts'
import { type DatasetEffects, reconcileDataset } from './reconcile.ts'

/** What the operator's settings say about preparing. */
interface DatasetSettings extends WorkloadSettings {
  readonly publicKeyPem: string
  readonly storage: StorageSettings
}

function datasetEffects(cluster: Cluster, ask: AskPreparation, settings: DatasetSettings): DatasetEffects {
  return {
    observe: (dataset, now) => observe(cluster, ask, dataset, now),
    record: (dataset, status) => record(cluster, dataset, status),
    act: (dataset, decision) => act(cluster, settings, dataset, decision),
  }
}

async function act(
  cluster: Cluster,
  settings: DatasetSettings,
  dataset: HumanizerDataset,
  decision: Decision,
): Promise<Refusal | undefined> {
  const { namespace = '' } = dataset.metadata
  switch (decision.kind) {
    case 'makeClaim':
      return makeClaim(cluster, namespace, dataset.spec.storage.claimName, settings.storage)
    case 'prepare': {
      const reclaim = await reclaimWithSweep(cluster, dataset)
      const children = prepareChildren(dataset, decision.attempt, decision.claim, settings, reclaim)
      return makeChildren(cluster, dataset, children)
    }
    case 'clear':
      await deleteJobs(cluster, namespace, decision.remains.jobs)
      return undefined
    case 'rest':
    case 'ready':
    case 'hold':
    case 'wait':
    case 'follow':
    case 'stall':
    case 'endAttempt':
    case 'publish':
      return undefined
  }
}

/** The controller of HumanizerDatasets. */
export function datasetController(
  cluster: Cluster,
  settings: DatasetSettings,
  trust: Trust,
): Controller<HumanizerDataset> {
  const effects = datasetEffects(cluster, preparationClient(trust), settings)
  const ownerLabel = 'humanizer.dev/dataset'
  return {
    name: 'dataset',
    kind: { apiVersion: 'humanizer.dev/v1alpha1', kind: 'HumanizerDataset', plural: 'humanizerdatasets' },
    children: [
      { apiVersion: 'batch/v1', kind: 'Job', plural: 'jobs', ownerLabel },
      { apiVersion: 'v1', kind: 'Pod', plural: 'pods', ownerLabel },
    ],
    reconcile: (dataset, now) => reconcileDataset(dataset, effects, now),
  }
}
