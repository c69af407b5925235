import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { Cluster } from '../kube/cluster.ts'
import { type AttemptState, attemptState, remainsOf } from '../workload/attempt-state.ts'
import { readClaim, readWork } from '../workload/children.ts'
import { withClaim } from '../workload/claim-state.ts'
import { ownerOf } from '../workload/names.ts'
import { missingConfigMaps } from './config-maps.ts'
import { lastAttempt, type Observed } from './decide.ts'
import type { AskPreparation } from './preparation-client.ts'
import { prepareJobName } from './prepare-job.ts'

/** Reads everything that a decision needs, live. */
export async function observe(
  cluster: Cluster,
  ask: AskPreparation,
  dataset: HumanizerDataset,
  now: Date,
): Promise<Observed> {
  const owner = ownerOf(dataset)
  const [claim, missing, { jobs, pods }] = await Promise.all([
    readClaim(cluster, owner.namespace, dataset.spec.storage.claimName),
    missingConfigMaps(cluster, dataset),
    readWork(cluster, owner),
  ])
  const last = lastAttempt(dataset)
  const jobName = last && prepareJobName(owner.name, last.number)
  const current = last && (!last.finishTime || last.reason === 'Completed') ? jobName : undefined
  const attempt: AttemptState =
    last && jobName
      ? withClaim(attemptState({ jobName, attempt: last.number, ownerUid: owner.uid }, jobs, pods, now), claim)
      : { kind: 'absent' }
  const open = last !== undefined && !last.finishTime
  return {
    claim,
    missing,
    attempt,
    progress: open && attempt.kind === 'running' ? await ask(dataset, attempt.pod) : undefined,
    remains: remainsOf(jobs, pods, now, (name) => name !== current),
  }
}
