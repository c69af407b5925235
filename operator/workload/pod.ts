import { isDeepStrictEqual } from 'node:util'
import { claimLabel, type Owner, ownerLabels } from './names.ts'

/** What the operator's settings say about every pod it makes. */
export interface WorkloadSettings {
  readonly trainerImage: string
  readonly trainerImagePullPolicy: string
  /** Base address of a Hugging Face mirror for pods that download; absent means the Hub itself. */
  readonly hubEndpoint?: string | undefined
}

/** `spec.pod` of the three kinds: what the user decides about the pods. Copied; a GPU brings the toleration of its nodes' usual taint. */
export interface PodOptions {
  readonly resources?: { readonly limits?: Record<string, unknown> }
  readonly nodeSelector?: Record<string, string>
  readonly tolerations?: readonly object[]
  readonly affinity?: object
  readonly runtimeClassName?: string
  readonly priorityClassName?: string
  readonly imagePullSecrets?: readonly object[]
  readonly labels?: Record<string, string>
}

/** One volume and where it is mounted. */
export interface Mount {
  /** Volume source without its name, such as `{ configMap: { name } }`. */
  readonly source: object
  /** Name of the volume: a DNS label, unique in the pod. */
  readonly name: string
  readonly mountPath: string
  readonly readOnly: boolean
}

/** The claim that holds models, datasets, runs and adapters. */
export interface ClaimUse {
  readonly name: string
  /** ReadWriteOnce: all pods of the claim must share a node. */
  readonly singleNode: boolean
}

interface WorkloadPod {
  readonly owner: Owner
  readonly settings: WorkloadSettings
  readonly command: 'prepare' | 'fetch' | 'train' | 'merge' | 'upload' | 'serve'
  /** ConfigMap whose config.json is mounted at /etc/humanizer. */
  readonly configMapName: string
  readonly claim: ClaimUse
  readonly mounts?: readonly Mount[]
  readonly options?: PodOptions | undefined
  readonly labels?: Record<string, string>
  readonly env?: readonly object[]
  /** Ports, probes and the like, merged into the container. */
  readonly container?: object
  readonly restartPolicy: 'Never' | 'Always'
  /** Seconds between SIGTERM and SIGKILL: a trainer seals a checkpoint, a server finishes its requests. */
  readonly terminationGracePeriodSeconds: number
}

export interface PodTemplate {
  readonly metadata: { readonly labels: Record<string, string> }
  readonly spec: Record<string, unknown>
}

/** uid, gid and fsGroup of every pod; also the owner of all files on the claim. */
const workloadUser = 65532

/** Name of the container of every pod that the trainer image runs in; others may be put beside it. */
export const containerName = 'humanizer'

const fromPod = (name: string, fieldPath: string): object => ({ name, valueFrom: { fieldRef: { fieldPath } } })

/** The pod that all Jobs and Deployments share: restricted by Pod Security Standards, no service account token. */
export function workloadPod(pod: WorkloadPod): PodTemplate {
  const { owner, settings, options = {} } = pod
  const mounts: readonly Mount[] = [
    {
      name: 'data',
      source: { persistentVolumeClaim: { claimName: pod.claim.name } },
      mountPath: '/data',
      readOnly: false,
    },
    { name: 'config', source: { configMap: { name: pod.configMapName } }, mountPath: '/etc/humanizer', readOnly: true },
    { name: 'tmp', source: { emptyDir: {} }, mountPath: '/tmp', readOnly: false },
    ...(pod.mounts ?? []),
  ]
  return {
    metadata: {
      labels: {
        ...owner.queueLabels,
        ...options.labels,
        ...ownerLabels(owner),
        [claimLabel]: pod.claim.name,
        ...pod.labels,
      },
    },
    spec: {
      restartPolicy: pod.restartPolicy,
      terminationGracePeriodSeconds: pod.terminationGracePeriodSeconds,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: workloadUser,
        runAsGroup: workloadUser,
        fsGroup: workloadUser,
        fsGroupChangePolicy: 'OnRootMismatch',
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: containerName,
          image: settings.trainerImage,
          imagePullPolicy: settings.trainerImagePullPolicy,
          command: ['node', '/app/trainer-image/main.ts', pod.command],
          env: [
            fromPod('POD_UID', 'metadata.uid'),
            fromPod('POD_NAME', 'metadata.name'),
            fromPod('POD_IP', 'status.podIP'),
            ...(pod.env ?? []),
          ],
          resources: options.resources ?? {},
          volumeMounts: mounts.map((mount) => ({
            name: volumeOf(mount, mounts).name,
            mountPath: mount.mountPath,
            readOnly: mount.readOnly,
          })),
          terminationMessagePath: '/dev/termination-log',
          terminationMessagePolicy: 'File',
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          ...pod.container,
        },
      ],
      volumes: mounts
        .filter((mount) => volumeOf(mount, mounts) === mount)
        .map(({ name, source }) => ({ name, ...source })),
      ...scheduling(pod),
    },
  }
}

/** The first mount of the same source. A claim is one volume however often it is mounted: kubelet confuses two volumes of one local claim. */
const volumeOf = (mount: Mount, mounts: readonly Mount[]): Mount =>
  mounts.find(({ source }) => isDeepStrictEqual(source, mount.source)) ?? mount

/** Where a base model's own claim is mounted, when it is not the claim of everything else. */
export const modelSourceFolder = '/models-source'

/** A base that the user put on a claim of its own is read where it lies. */
export const modelSourceMount = (claimName: string): Mount => ({
  name: 'model-source',
  source: { persistentVolumeClaim: { claimName } },
  mountPath: modelSourceFolder,
  readOnly: true,
})

/** Environment of pods that may download from the Hub. */
export function hubEnvironment(settings: WorkloadSettings): object[] {
  return settings.hubEndpoint ? [{ name: 'HF_ENDPOINT', value: settings.hubEndpoint }] : []
}

/**
 * Mounts `key` of a Secret as /etc/humanizer-secrets/<directory>/token. The pod waits until the Secret is there, unless it is optional:
 * then the file comes when the Secret does.
 */
export function tokenMount(
  directory: string,
  secret: { readonly name: string; readonly key: string },
  optional = false,
): Mount {
  const items = [{ key: secret.key, path: 'token' }]
  return {
    name: `token-${directory}`,
    source: { secret: { secretName: secret.name, defaultMode: 0o440, items, ...(optional && { optional }) } },
    mountPath: secretFolder(directory),
    readOnly: true,
  }
}

/** Mounts all keys of a Secret as files of secretFolder(directory). The pod waits until the Secret is there. */
export const secretMount = (directory: string, secretName: string): Mount => ({
  name: `secret-${directory}`,
  source: { secret: { secretName, defaultMode: 0o440 } },
  mountPath: secretFolder(directory),
  readOnly: true,
})

export const secretFolder = (directory: string): string => `/etc/humanizer-secrets/${directory}`

/** Where a mounted token lies in the container. */
export const tokenFile = (directory: string): string => `${secretFolder(directory)}/token`

/** Whether the pod is to have a GPU, or a part of one: nvidia.com/gpu, nvidia.com/gpu.shared, nvidia.com/mig-…. */
export const asksForGpu = ({ resources }: PodOptions = {}): boolean =>
  Object.keys(resources?.limits ?? {}).some((name) => name.startsWith('nvidia.com/'))

/**
 * The backend that a pod is told. Auto with a GPU asked for is CUDA: where the container runtime brings no device into the pod, the
 * engine says so and the pod fails, instead of computing on the CPU of a node that is paid for its GPU.
 */
export const backendFor = (backend: 'Auto' | 'CPU' | 'CUDA', options: PodOptions | undefined): string =>
  backend === 'Auto' && asksForGpu(options) ? 'CUDA' : backend

/** The user's, and that of the taint that keeps GPU nodes free of other pods. */
const tolerationsOf = (options: PodOptions): readonly object[] => [
  ...(options.tolerations ?? []),
  ...(asksForGpu(options) ? [{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }] : []),
]

function scheduling({ options = {}, claim }: WorkloadPod): Record<string, unknown> {
  const tolerations = tolerationsOf(options)
  const affinity = claim.singleNode ? withClaimAffinity(options.affinity, claim.name) : options.affinity
  return {
    ...(options.nodeSelector && { nodeSelector: options.nodeSelector }),
    ...(tolerations.length > 0 && { tolerations }),
    ...(affinity && { affinity }),
    ...(options.runtimeClassName && { runtimeClassName: options.runtimeClassName }),
    ...(options.priorityClassName && { priorityClassName: options.priorityClassName }),
    ...(options.imagePullSecrets && { imagePullSecrets: options.imagePullSecrets }),
  }
}

/** The first pod of a claim may go anywhere (the scheduler lets a pod satisfy its own rule); the others follow it. */
function withClaimAffinity(
  affinity: { podAffinity?: { requiredDuringSchedulingIgnoredDuringExecution?: object[] } } | undefined,
  claimName: string,
): object {
  const required = affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []
  const together = {
    labelSelector: { matchLabels: { [claimLabel]: claimName } },
    topologyKey: 'kubernetes.io/hostname',
  }
  return {
    ...affinity,
    podAffinity: { ...affinity?.podAffinity, requiredDuringSchedulingIgnoredDuringExecution: [...required, together] },
  }
}

interface Resources {
  readonly limits?: Record<string, number | string>
  readonly requests?: Record<string, number | string>
}

/** Extended resources (a GPU) carry a domain in their name; a pod that trains and serves nothing needs none. */
export function withoutDevices(options: PodOptions): PodOptions {
  if (!options.resources) return options
  const { limits, requests } = options.resources as Resources
  return {
    ...options,
    resources: { ...(limits && { limits: plain(limits) }), ...(requests && { requests: plain(requests) }) },
  }
}

const plain = (resources: Record<string, number | string>): Record<string, number | string> =>
  Object.fromEntries(Object.entries(resources).filter(([name]) => !name.includes('/')))
