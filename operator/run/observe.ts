import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { Cluster } from '../kube/cluster.ts'
import { type AttemptState, attemptState, type RunningPod, remainsOf } from '../workload/attempt-state.ts'
import { readClaim, readWork } from '../workload/children.ts'
import { withClaim } from '../workload/claim-state.ts'
import { ownerOf } from '../workload/names.ts'
import { lastAttempt, type Observed, type Trainer } from './decide.ts'
import { fetchJobName } from './fetch-job.ts'
import { trainJobName } from './train-job.ts'

/** How a running trainer is asked; always resolves. */
export type AskTrainer = (run: QLoRARun, pod: RunningPod, now: Date) => Promise<Trainer>

/** Reads everything that a decision needs, live. */
export async function observe(cluster: Cluster, ask: AskTrainer, run: QLoRARun, now: Date): Promise<Observed> {
  const owner = ownerOf(run)
  const { datasetRef, storage } = run.spec
  const api = 'humanizer.dev/v1alpha1'
  const [dataset, releases, claim, { jobs, pods }] = await Promise.all([
    cluster.get<HumanizerDataset>({
      apiVersion: api,
      kind: 'HumanizerDataset',
      namespace: owner.namespace,
      name: datasetRef.name,
    }),
    run.status?.completionTime
      ? cluster.list<AdapterRelease>({ apiVersion: api, kind: 'AdapterRelease' }, owner.namespace, '')
      : [],
    readClaim(cluster, owner.namespace, storage.claimName),
    readWork(cluster, owner),
  ])
  const stateOf = (jobName: string | undefined, attempt: number): AttemptState =>
    jobName
      ? withClaim(attemptState({ jobName, attempt, ownerUid: owner.uid }, jobs, pods, now), claim)
      : { kind: 'absent' }
  const last = lastAttempt(run)
  const { fetch } = run.status ?? {}
  const trainName = last && trainJobName(owner.name, last.number)
  const fetchName = fetch && fetchJobName(owner.name, fetch.number)
  const attempt = stateOf(trainName, last?.number ?? 0)
  const open = last && !last.finishTime ? attempt : undefined
  // Jobs stay for their logs: the one that trained last, and the one that fetched. Suspended, none stays.
  const kept =
    run.spec.suspend && !run.status?.completionTime
      ? []
      : [last && (!last.finishTime || run.status?.completionTime) ? trainName : undefined, fetchName]
  return {
    dataset,
    releases,
    claim,
    fetch: stateOf(fetchName, fetch?.number ?? 0),
    attempt,
    trainer: open?.kind === 'running' ? await ask(run, open.pod, now) : undefined,
    remains: remainsOf(jobs, pods, now, (name) => !kept.includes(name)),
  }
}
