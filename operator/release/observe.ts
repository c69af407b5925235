import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { Cluster, KubeObject } from '../kube/cluster.ts'
import type { ClaimState } from '../workload/claim.ts'
import { childSelector, isOwnedBy, type Owner, ownerOf } from '../workload/names.ts'
import type { Observed, ServingPod } from './observed.ts'
import type { PodCaller } from './pod-caller.ts'
import { servingLabel } from './serving.ts'

const childKinds = [
  { apiVersion: 'apps/v1', kind: 'Deployment' },
  { apiVersion: 'v1', kind: 'ConfigMap' },
  { apiVersion: 'v1', kind: 'Service' },
  { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
] as const

/** Reads everything that decide looks at. Live reads; pods are asked in parallel and may be silent. */
export async function observe(
  release: AdapterRelease,
  cluster: Cluster,
  caller: PodCaller,
  called: ReadonlySet<string>,
): Promise<Observed> {
  const owner = ownerOf(release)
  const { namespace } = owner
  const selector = childSelector(owner)
  const [runs, claim, pods, ...children] = await Promise.all([
    cluster.list<QLoRARun>({ apiVersion: 'humanizer.dev/v1alpha1', kind: 'QLoRARun' }, namespace, ''),
    observeClaim(cluster, namespace, release.spec.storage.claimName),
    cluster.list<Pod>({ apiVersion: 'v1', kind: 'Pod' }, namespace, selector),
    ...childKinds.map((kind) => cluster.list(kind, namespace, selector)),
  ])
  return {
    runs,
    claim,
    children: children.flat().filter((child) => isOwnedBy(child, owner.uid) && !child.metadata.deletionTimestamp),
    pods: await Promise.all(pods.map((pod) => observePod(pod, release, caller, owner))),
    called,
  }
}

interface Pod extends KubeObject {
  status?: {
    phase?: string
    podIP?: string
    conditions?: { type: string; status: string; reason?: string; message?: string }[]
    containerStatuses?: {
      restartCount: number
      state?: { running?: object; waiting?: { reason?: string; message?: string } }
      lastState?: { terminated?: { exitCode?: number; reason?: string; message?: string } }
    }[]
  }
}

async function observePod(pod: Pod, release: AdapterRelease, caller: PodCaller, owner: Owner): Promise<ServingPod> {
  const { name, uid = '', labels, deletionTimestamp } = pod.metadata
  const { phase, podIP, conditions = [], containerStatuses: [container] = [] } = pod.status ?? {}
  const terminating = deletionTimestamp !== undefined || phase === 'Failed' || phase === 'Succeeded'
  const reachable = !terminating && podIP !== undefined && container?.state?.running !== undefined
  return {
    name,
    uid,
    deployment: labels?.[servingLabel] ?? '',
    ip: reachable ? podIP : undefined,
    ready: conditions.some(({ type, status }) => type === 'Ready' && status === 'True'),
    terminating,
    restarts: container?.restartCount ?? 0,
    trouble: troubleOf(pod),
    state: reachable
      ? await caller.state({ ip: podIP, uid, ownerUid: owner.uid }, release.spec.serving.port)
      : undefined,
  }
}

const startsNormally = new Set(['ContainerCreating', 'PodInitializing'])

function troubleOf({ metadata, status }: Pod): ServingPod['trouble'] {
  const unscheduled = status?.conditions?.find((each) => each.type === 'PodScheduled' && each.status === 'False')
  if (unscheduled)
    return { kind: 'unschedulable', message: `pod ${metadata.name}: ${unscheduled.message ?? unscheduled.reason}` }
  const [container] = status?.containerStatuses ?? []
  const waiting = container?.state?.waiting
  if (!waiting?.reason || startsNormally.has(waiting.reason)) return undefined
  const last = container?.lastState?.terminated
  const words = [
    waiting.reason,
    waiting.message,
    last && `last exit ${last.exitCode} ${last.message ?? last.reason ?? ''}`,
  ]
  return { kind: 'container', message: `pod ${metadata.name}: ${words.filter(Boolean).join(': ')}`.slice(0, 900) }
}

interface Claim extends KubeObject {
  spec?: { accessModes?: string[] }
}

async function observeClaim(cluster: Cluster, namespace: string, name: string): Promise<ClaimState | undefined> {
  const claim = await cluster.get<Claim>({ apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name })
  return claim && { name, accessModes: claim.spec?.accessModes ?? [] }
}
