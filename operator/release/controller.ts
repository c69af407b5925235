import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { ChildKind, Controller } from '../controller/controller.ts'
import type { Cluster, KubeObject } from '../kube/cluster.ts'
import type { Trust } from '../trust/trust.ts'
import { isOwnedBy, ownerOf } from '../workload/names.ts'
import { observe } from './observe.ts'
import { createPodCaller, type PodCaller } from './pod-caller.ts'
import { type Effects, reconcileRelease } from './reconcile.ts'
import type { ServingSettings } from './serving.ts'

const ownerLabel = 'humanizer.dev/release'
const children: readonly ChildKind[] = [
  { apiVersion: 'apps/v1', kind: 'Deployment', plural: 'deployments', ownerLabel },
  { apiVersion: 'v1', kind: 'Service', plural: 'services', ownerLabel },
  { apiVersion: 'v1', kind: 'ConfigMap', plural: 'configmaps', ownerLabel },
  { apiVersion: 'v1', kind: 'Pod', plural: 'pods', ownerLabel },
]

export function releaseController(
  cluster: Cluster,
  settings: ServingSettings,
  trust: Trust,
): Controller<AdapterRelease> {
  const effects = clusterEffects(cluster, settings, createPodCaller(trust))
  return {
    name: 'release',
    kind: { apiVersion: 'humanizer.dev/v1alpha1', kind: 'AdapterRelease', plural: 'adapterreleases' },
    children,
    related: [
      {
        apiVersion: 'humanizer.dev/v1alpha1',
        kind: 'QLoRARun',
        plural: 'qloraruns',
        concerns: ({ spec }, run) =>
          spec.source.run?.name === run.metadata.name ||
          ((run as QLoRARun).status?.checkpoints?.some(({ digest }) => digest === spec.source.digest) ?? false),
      },
    ],
    reconcile: (release, now) => reconcileRelease(release, effects, now),
  }
}

function clusterEffects(cluster: Cluster, settings: ServingSettings, caller: PodCaller): Effects {
  const refOf = (release: AdapterRelease, { apiVersion, kind, metadata: { name } }: KubeObject) => ({
    apiVersion,
    kind,
    name,
    namespace: ownerOf(release).namespace,
  })
  return {
    settings,
    observe: (release, called) => observe(release, cluster, caller, called),
    writeStatus: (release, status) => cluster.writeStatus(release, status),
    async apply(release, objects) {
      for (const object of objects) {
        const found = await cluster.get(refOf(release, object))
        if (found && !isOwnedBy(found, ownerOf(release).uid)) return found
        await cluster.apply(object)
      }
      return undefined
    },
    async activate(release, pods, desired) {
      const ownerUid = ownerOf(release).uid
      await Promise.all(
        pods.map(async ({ ip, uid }) => {
          if (ip) await caller.activate({ ip, uid, ownerUid }, desired)
        }),
      )
    },
    async retire(release, objects) {
      for (const object of objects) {
        const uid = object.metadata.uid
        if (uid) await cluster.delete(refOf(release, object), { uid, propagationPolicy: 'Background' })
      }
    },
    event: (release, type, reason, message) => cluster.event(release, type, reason, message),
  }
}
