import { DesiredAdapter, ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { canonicalJson, digestOf } from '../workload/digest.ts'
import { childMetadata, ownerLabels, ownerOf } from '../workload/names.ts'
import {
  backendFor,
  type ClaimUse,
  modelSourceMount,
  type PodOptions,
  type WorkloadSettings,
  workloadPod,
} from '../workload/pod.ts'
import { reclaimOf } from '../workload/reclaim.ts'
import { type Adapter, modelNameOf, type Release } from './adapter.ts'
import { weightsOf } from './form.ts'
import { stillOurs } from './owned-fields.ts'
import { type Split, splitOf } from './steps.ts'
import { vllmConfig, vllmOf, withVllm } from './vllm-pod.ts'

/** What the operator's settings say about serving. */
export interface ServingSettings extends WorkloadSettings {
  /** Namespace the operator runs in: its pods may call the serving pods. */
  readonly namespace: string
  /** SPKI PEM that signed calls are checked with. */
  readonly publicKeyPem: string
}

/** Names the Deployment that a pod or ConfigMap belongs to; the Service selects on it. */
export const servingLabel = 'humanizer.dev/serving'
/** Hash of what was applied: tells whether an object must be applied again. */
export const appliedAnnotation = 'humanizer.dev/applied'
/** Port of the signed calls in every pod that the operator makes. */
export const callPort = 9443

/**
 * Deployment for a base model, its quantisation and an image. Adapters of one base share it and are switched in its
 * running pods; another base, image or engine, and each merged model, gets a Deployment of its own beside it.
 */
export function deploymentName(release: Release, adapter: Adapter, image: string): string {
  const { model, quantization } = weightsOf(adapter)
  const vllm = vllmOf(release)
  return `${release.metadata.name}-serve-${shortHash([model ?? null, quantization ?? null, image, ...(vllm ? [vllm] : [])]).slice(0, 8)}`
}

const suffixOf = (deployment: string): string => deployment.slice(-8)
export const configName = (deployment: string): string => deployment
export const desiredName = ({ metadata }: KubeObject, deployment: string): string =>
  `${metadata.name}-desired-${suffixOf(deployment)}`

export function labelSelector(release: Release, deployment: string): Record<string, string> {
  return { 'humanizer.dev/uid': release.metadata.uid ?? '', [servingLabel]: deployment }
}

export function endpointOf({ metadata, spec }: Release): string {
  return `http://${metadata.name}.${metadata.namespace}.svc:${spec.serving.port}/v1`
}

/** What the pods are told, in the ConfigMap and by Activate. */
export function desiredAdapter(
  { spec, status }: Release,
  { generation, digest, path, format }: Adapter,
): DesiredAdapter {
  const split = splitOf(status)
  return DesiredAdapter.fromPartial({
    generation,
    digest,
    sourcePath: path ?? '',
    warmSeconds: spec.rollback.windowSeconds,
    ...(format && { format }),
    ...(split && { split: splitFor(split) }),
  })
}

const splitFor = ({ adapter: { digest, path = '', format }, percent }: Split) => ({
  digest,
  sourcePath: path,
  percent,
  ...(format && { format }),
})

export interface Wanted {
  /** Deployment for `adapter`. */
  readonly deployment: string
  readonly adapter: Adapter
  /** Deployment that the Service leads to. */
  readonly serviceTo: string
  readonly claim: ClaimUse
  readonly settings: ServingSettings
}

/** Everything that must exist so that `adapter` is served. Order: what a pod needs, the pods, the way to them. */
export function servingObjects(release: Release, wanted: Wanted): KubeObject[] {
  return [
    config(release, wanted),
    desired(release, wanted),
    networkPolicy(release, wanted),
    deployment(release, wanted),
    service(release, wanted.serviceTo),
  ].map(stamped)
}

function config(release: Release, { deployment, adapter, settings }: Wanted): KubeObject {
  const { namespace, name, uid } = ownerOf(release)
  const { serving } = release.spec
  const { model, quantization, mergedDigest } = weightsOf(adapter)
  const vllm = vllmConfig(release)
  const values = ServeConfig.fromPartial({
    owner: { namespace, name, uid },
    trust: { publicKey: settings.publicKeyPem, port: callPort },
    ...(model && { model }),
    ...(quantization && { quantization: { ...quantization, computeDtype: quantization.computeDType } }),
    ...(mergedDigest && { mergedDigest }),
    ...(vllm && { vllm }),
    modelName: modelNameOf(release),
    httpPort: serving.port,
    backend: vllm ? 'Auto' : backendFor('Auto', release.spec.pod),
    maxContextTokens: serving.maxContextTokens ?? 0,
    reclaim: reclaimOf(release),
  })
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: childMetadata(ownerOf(release), configName(deployment), { [servingLabel]: deployment }),
    data: { 'config.json': JSON.stringify(ServeConfig.toJSON(values)) },
  }
}

function desired(release: Release, { deployment, adapter }: Wanted): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: childMetadata(ownerOf(release), desiredName(release, deployment), { [servingLabel]: deployment }),
    data: { 'desired.json': JSON.stringify(DesiredAdapter.toJSON(desiredAdapter(release, adapter))) },
  }
}

function deployment(release: Release, wanted: Wanted): KubeObject {
  const { deployment: name, adapter, claim, settings } = wanted
  const { model } = weightsOf(adapter)
  const { serving, pod } = release.spec
  const probe = (path: string, periodSeconds: number, failureThreshold: number) => ({
    httpGet: { path, port: 'http' },
    periodSeconds,
    failureThreshold,
    timeoutSeconds: 3,
  })
  const pods = workloadPod({
    owner: ownerOf(release),
    settings,
    command: 'serve',
    configMapName: configName(name),
    claim,
    options: pod as PodOptions,
    labels: { [servingLabel]: name },
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: 30,
    mounts: [
      {
        name: 'desired',
        source: { configMap: { name: desiredName(release, name) } },
        mountPath: '/etc/humanizer-desired',
        readOnly: true,
      },
      ...(model?.claimName ? [modelSourceMount(model.claimName)] : []),
      { name: 'state', source: { emptyDir: { sizeLimit: '16Mi' } }, mountPath: '/state', readOnly: false },
    ],
    container: {
      args: ['--state', '/state'],
      ports: [
        { name: 'http', containerPort: serving.port, protocol: 'TCP' },
        { name: 'calls', containerPort: callPort, protocol: 'TCP' },
      ],
      // Loading a base model may take minutes; only then does the liveness probe begin.
      startupProbe: probe('/healthz', 5, 120),
      livenessProbe: probe('/healthz', 10, 6),
      readinessProbe: probe('/readyz', 2, 2),
      // The pod answers on while the way to it is being taken down.
      lifecycle: { preStop: { exec: { command: ['node', '-e', 'setTimeout(() => {}, 3000)'] } } },
    },
  })
  const template = withVllm(release, pods, inData(model?.path ?? ''))
  const configHash = shortHash(config(release, wanted)['data'])
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: childMetadata(ownerOf(release), name, { [servingLabel]: name }),
    spec: {
      ...(serving.replicas !== undefined && { replicas: serving.replicas }),
      revisionHistoryLimit: 2,
      selector: { matchLabels: labelSelector(release, name) },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
      template: {
        ...template,
        metadata: { ...template.metadata, annotations: { 'humanizer.dev/config': configHash } },
      },
    },
  }
}

/** As a container sees a path that is relative to the claim's root. */
const inData = (path: string): string => (path.startsWith('/') ? path : `/data/${path}`)

function service(release: Release, serviceTo: string): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: childMetadata(ownerOf(release), release.metadata.name),
    spec: {
      type: 'ClusterIP',
      selector: labelSelector(release, serviceTo),
      ports: [{ name: 'http', port: release.spec.serving.port, targetPort: 'http', protocol: 'TCP' }],
    },
  }
}

function networkPolicy(release: Release, { settings }: Wanted): KubeObject {
  const { namespace } = ownerOf(release)
  const { clients = [], port } = release.spec.serving
  const pods = (ofNamespace: string, podLabels: Record<string, string> = {}) => ({
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': ofNamespace } },
    podSelector: { matchLabels: podLabels },
  })
  const operator = pods(settings.namespace, { 'app.kubernetes.io/name': 'humanizer' })
  const named = clients.map((client) => pods(client.namespace ?? namespace, client.podLabels))
  const on = (number: number) => [{ port: number, protocol: 'TCP' }]
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: childMetadata(ownerOf(release), `${release.metadata.name}-serve`),
    spec: {
      podSelector: { matchLabels: ownerLabels(ownerOf(release)) },
      policyTypes: ['Ingress'],
      ingress: [
        { from: [operator], ports: on(callPort) },
        { from: [operator, ...(clients.length > 0 ? named : [pods(namespace)])], ports: on(port) },
      ],
    },
  }
}

/** With the hash of its own contents, so that an unchanged object is not applied again. */
function stamped(object: KubeObject): KubeObject {
  const annotations = { ...object.metadata.annotations, [appliedAnnotation]: shortHash(object) }
  return { ...object, metadata: { ...object.metadata, annotations } }
}

/** Whether `found` is what was last applied as `wanted`, and nobody changed it since. What leads traffic and adapters is compared by content too. */
export function upToDate(wanted: KubeObject, found: KubeObject | undefined): boolean {
  if (!found) return false
  const stamp = (object: KubeObject) => object.metadata.annotations?.[appliedAnnotation]
  if (stamp(found) !== stamp(wanted) || !stillOurs(wanted, found)) return false
  if (wanted.kind === 'ConfigMap') return sameJson(found['data'], wanted['data'])
  if (wanted.kind === 'Service') return sameJson(selectorOf(found), selectorOf(wanted))
  return true
}

const selectorOf = (service: KubeObject): unknown => (service['spec'] as { selector?: unknown } | undefined)?.selector

const sameJson = (a: unknown, b: unknown): boolean => canonicalJson(a) === canonicalJson(b)

/** Sixteen hex digits that differ when the value does. */
export const shortHash = (value: unknown): string => digestOf(value).slice('sha256:'.length, 'sha256:'.length + 16)
