import type { Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'
import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { ChildKind, Controller } from '../controller/controller.ts'
import type { Cluster, KubeObject } from '../kube/cluster.ts'
import type { Trust } from '../trust/trust.ts'
import { makeChildren } from '../workload/children.ts'
import { ownerOf } from '../workload/names.ts'
import { reclaimWithSweep } from '../workload/reclaim.ts'
import { modelNameOf, type Release } from './adapter.ts'
import { applyChildren, jobRefused, retireChildren } from './children.ts'
import { mergeChildren } from './merge-job.ts'
import { observe } from './observe.ts'
import { baseName, createPodCaller, type PodAddress, type PodCaller } from './pod-caller.ts'
import { whileAsking } from './probes.ts'
import { pushChildren } from './push-job.ts'
import { type Effects, reconcileRelease } from './reconcile.ts'
import type { ServingSettings } from './serving.ts'

const ownerLabel = 'humanizer.dev/release'
const children: readonly ChildKind[] = [
  { apiVersion: 'apps/v1', kind: 'Deployment', plural: 'deployments', ownerLabel },
  { apiVersion: 'v1', kind: 'Service', plural: 'services', ownerLabel },
  { apiVersion: 'v1', kind: 'ConfigMap', plural: 'configmaps', ownerLabel },
  { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', plural: 'networkpolicies', ownerLabel },
  { apiVersion: 'batch/v1', kind: 'Job', plural: 'jobs', ownerLabel },
  { apiVersion: 'v1', kind: 'Pod', plural: 'pods', ownerLabel },
]

const releases = { apiVersion: 'humanizer.dev/v1alpha1', kind: 'AdapterRelease', plural: 'adapterreleases' } as const

export function releaseController(
  cluster: Cluster,
  settings: ServingSettings,
  trust: Trust,
): Controller<AdapterRelease> {
  const effects = clusterEffects(cluster, settings, createPodCaller(trust))
  return {
    name: 'release',
    kind: releases,
    children,
    related: [
      {
        apiVersion: 'humanizer.dev/v1alpha1',
        kind: 'QLoRARun',
        plural: 'qloraruns',
        concerns: ({ spec, status = {} }, run) =>
          spec.source.run?.name === run.metadata.name ||
          [status.active, status.candidate, ...(status.history ?? [])].some(
            (each) => each?.run === run.metadata.name,
          ) ||
          ((run as QLoRARun).status?.checkpoints?.some(({ digest }) => digest === spec.source.digest) ?? false),
      },
      {
        ...releases,
        // What another release served, this one can be asked to serve.
        concerns: ({ metadata, spec }, other) =>
          other.metadata.name !== metadata.name &&
          ((other as AdapterRelease).status?.history?.some(({ digest }) => digest === spec.source.digest) ?? false),
      },
    ],
    reconcile: (release, now) => reconcileRelease(release, effects, now),
  }
}

function clusterEffects(cluster: Cluster, settings: ServingSettings, caller: PodCaller): Effects {
  const makeJob = async (release: Release, children: (reclaim: Reclaim) => KubeObject[]) => {
    const reclaim = await reclaimWithSweep(cluster, release as AdapterRelease)
    const refusal = await makeChildren(cluster, release, children(reclaim))
    return refusal && jobRefused(refusal)
  }
  return {
    settings,
    observe: (release, asked, now) => observe(release, cluster, caller, asked, now),
    writeStatus: (release, status) => cluster.writeStatus(release, status),
    apply: (release, objects) => applyChildren(cluster, release, objects),
    activate(release, pods, desired, underLoad) {
      const ownerUid = ownerOf(release).uid
      const addressed = (those: typeof pods) => those.flatMap(({ ip, uid }) => (ip ? [{ ip, uid, ownerUid }] : []))
      const switching = Promise.all(addressed(pods).map((pod) => caller.activate(pod, desired)))
      const { port } = release.spec.serving
      const ask = (pod: PodAddress) => caller.ask(pod, port, modelNameOf(release))
      return whileAsking(addressed(underLoad), ask, desired.digest || baseName, switching)
    },
    merge: (release, work) => makeJob(release, (reclaim) => mergeChildren(release, work, settings, reclaim)),
    push: (release, work) =>
      makeJob(release, (reclaim) =>
        release.spec.push ? pushChildren(release, release.spec.push, work, settings, reclaim) : [],
      ),
    retire: (release, objects) => retireChildren(cluster, release, objects),
    async liveRuns({ apiVersion, metadata: { namespace = '' } }, names) {
      const found = await Promise.all(
        names.map((name) => cluster.get<QLoRARun>({ apiVersion, kind: 'QLoRARun', namespace, name })),
      )
      return new Map(found.flatMap((run) => (run ? [[run.metadata.name, run.metadata.uid ?? ''] as const] : [])))
    },
    event: (release, type, reason, message) => cluster.event(release, type, reason, message),
    elapsed: () => performance.now(),
  }
}
