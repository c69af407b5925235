import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { Cluster } from '../kube/cluster.ts'
import { type AttemptState, attemptState, type Job } from '../workload/attempt-state.ts'
import { readClaim } from '../workload/children.ts'
import { attemptLabel, childSelector, isOwnedBy, ownerOf } from '../workload/names.ts'
import { type Pod as JobPod, ownContainer } from '../workload/pod-state.ts'
import type { Release } from './adapter.ts'
import { ownWords } from './heard.ts'
import { currentMerge } from './merging.ts'
import type { Asked, Observed, ServingPod } from './observed.ts'
import type { PodCaller } from './pod-caller.ts'
import { type ContainerStatus, type Pod, troubleOf } from './pod-trouble.ts'
import { currentPush } from './pushing.ts'
import { servingLabel } from './serving.ts'
import { knownHere, type Sources } from './source.ts'
import { expanded } from './stored.ts'
import { vllmContainerName } from './vllm-pod.ts'

const childKinds = [
  { apiVersion: 'apps/v1', kind: 'Deployment' },
  { apiVersion: 'v1', kind: 'ConfigMap' },
  { apiVersion: 'v1', kind: 'Service' },
  { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
] as const

const api = 'humanizer.dev/v1alpha1'

/** Reads everything that decide looks at. Live reads; pods are asked in parallel and may be silent. */
export async function observe(
  release: Release,
  cluster: Cluster,
  caller: PodCaller,
  asked: Asked,
  now: Date,
): Promise<Observed> {
  const { namespace, uid: ownerUid } = ownerOf(release)
  const selector = childSelector(ownerOf(release))
  const [merge, push] = [currentMerge(release), currentPush(release)]
  const [sources, claim, [pods, jobPods], jobs, ...children] = await Promise.all([
    observeSources(release, cluster, namespace),
    readClaim(cluster, namespace, release.spec.storage.claimName),
    cluster.list<Pod>({ apiVersion: 'v1', kind: 'Pod' }, namespace, selector).then(async (all) => {
      const serving = all.filter(({ metadata }) => metadata.labels?.[attemptLabel] === undefined)
      const seen = await Promise.all(serving.map((pod) => observePod(pod, release, caller, asked, now)))
      return [seen, all.filter((pod) => !serving.includes(pod))] as const
    }),
    release.status?.merge || release.status?.push
      ? cluster.list<Job>({ apiVersion: 'batch/v1', kind: 'Job' }, namespace, selector)
      : [],
    ...childKinds.map((kind) => cluster.list(kind, namespace, selector)),
  ])
  const stateOf = (work: typeof merge): AttemptState =>
    work ? attemptState({ ...work, ownerUid }, jobs, jobPods as JobPod[], now) : { kind: 'absent' }
  return {
    sources,
    claim,
    children: children.flat().filter((child) => isOwnedBy(child, ownerUid) && !child.metadata.deletionTimestamp),
    pods,
    merge: stateOf(merge),
    push: stateOf(push),
    jobs: jobs.filter(({ metadata }) => !metadata.deletionTimestamp),
    asked,
  }
}

/** No more than spec.source needs: a rollback must not wait for the lists of a namespace with hundreds of runs. */
async function observeSources(release: Release, cluster: Cluster, namespace: string): Promise<Sources> {
  const { run, digest } = release.spec.source
  if (run) {
    const found = await cluster.get<QLoRARun>({ apiVersion: api, kind: 'QLoRARun', namespace, name: run.name })
    return { runs: found ? [found] : [], releases: [] }
  }
  if (!digest || knownHere(release, digest)) return { runs: [], releases: [] }
  const [runs, releases] = await Promise.all([
    cluster.list<QLoRARun>({ apiVersion: api, kind: 'QLoRARun' }, namespace, ''),
    cluster.list<AdapterRelease>({ apiVersion: api, kind: 'AdapterRelease' }, namespace, ''),
  ])
  return { runs, releases: releases.filter(({ metadata }) => metadata.uid !== release.metadata.uid).map(expanded) }
}

async function observePod(pod: Pod, release: Release, caller: PodCaller, asked: Asked, now: Date): Promise<ServingPod> {
  const { name, uid = '', labels, deletionTimestamp } = pod.metadata
  const { phase, podIP, conditions = [], containerStatuses = [] } = pod.status ?? {}
  const container = ownContainer(containerStatuses)
  const terminating = deletionTimestamp !== undefined || phase === 'Failed' || phase === 'Succeeded'
  const ip = !terminating && container?.state?.running ? podIP : undefined
  const ready = conditions.some(({ type, status }) => type === 'Ready' && status === 'True')
  const ownerUid = release.metadata.uid ?? ''
  const startedAt = container?.state?.running?.startedAt
  const isAsked = ip && !asked.silent.has(uid)
  const said = isAsked ? await caller.state({ ip, uid, ownerUid }, release.spec.serving.port) : {}
  const { state, doubt } = ownWords(said, uid, startedAt, now)
  return {
    name,
    uid,
    deployment: labels?.[servingLabel] ?? '',
    ip,
    ready,
    terminating,
    restarts: restartsOf(container, containerStatuses),
    trouble: ready ? undefined : troubleOf(pod),
    state,
    doubt,
  }
}

/** Ours and vLLM's, which an adapter may crash; those of a mesh or an agent say nothing of it. */
const restartsOf = (own: ContainerStatus | undefined, all: readonly ContainerStatus[]): number =>
  all
    .filter((each) => each === own || each.name === vllmContainerName)
    .reduce((sum, { restartCount }) => sum + restartCount, 0)
