/**
 * The kubelet and the serving pods of a release, for tests without nodes: every pod that the Deployment's controller makes
 * gets an address of its own in 127.0.0.0/8 and a process-less stand-in there that answers GET /readyz and real signed gRPC
 * calls, and that follows desired.json as the trainer does.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { DesiredAdapter, ServeConfig, ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import { type ServingServiceServer, ServingServiceService } from '#proto/humanizer/trainer/v1/serving_service.ts'
import type { ApiClient } from '../../operator/kube/client.ts'
import type { KubeObject } from '../../operator/kube/cluster.ts'
import { type RunningServer, service, startServer } from '../../trainer-image/service/server.ts'
import { Mirror } from './mirror.ts'

interface Pod extends KubeObject {
  spec: { volumes: { name: string; configMap?: { name: string } }[] }
}

interface ConfigMap extends KubeObject {
  data?: Record<string, string>
}

interface StandIn {
  readonly uid: string
  readonly ip: string
  readonly http: Server
  readonly calls: RunningServer | undefined
  state: ServingState
  ready: boolean
  /** Requests that it answered. */
  answered: number
  startedAt: string
  restarts: number
  readonly index: number
  /** The generation in desired.json, and since when it stands there. */
  file: { readonly generation: number; readonly since: number }
}

/** A signed call comes first: to a pod that runs, the kubelet takes up to a minute to bring a file that has changed. */
const FILE_DELAY_MS = 500

/** `index` counts the pods of its release that were started, from 0. */
export type Lie = (
  state: ServingState,
  pod: { readonly startedAt: string; readonly index: number },
) => ServingState | string

export class ServingPods {
  /** Digests that no pod can load. */
  readonly broken = new Set<string>()
  /** Pods made while this is true do not listen for gRPC. */
  callsBlocked = false
  /** The scheduler's words; pods made while they are set find no node. */
  schedulerSays = ''
  /** Pods that have loaded something follow signed calls only, as those do whose desired.json has not come yet. */
  slowFiles = false
  /** Pods do not answer GET /readyz. */
  silent = false
  /** How often every container is to have started again; what it had loaded is gone each time. */
  restarts = 0
  /** What pods answer instead of the truth; health, for one, they have none of. A string is sent as it is. */
  lie: Lie = (state) => state
  /** The same for the pods of one release. */
  readonly lies = new Map<string, Lie>()
  readonly #pods = new Map<string, StandIn>()
  /** By release: how many pods were started. */
  readonly #started = new Map<string, number>()
  readonly #unscheduled = new Set<string>()
  readonly #client: ApiClient
  readonly #namespace: string
  /** Test files run at once; the process id keeps their addresses apart. */
  readonly #subnet = `127.${1 + ((process.pid >> 8) % 254)}.${process.pid & 255}`
  readonly #mirrors: { readonly pods: Mirror<Pod>; readonly configMaps: Mirror<ConfigMap> }
  #nextAddress = 2
  #stopped = false
  #loop: Promise<void>

  constructor(client: ApiClient, namespace: string) {
    this.#client = client
    this.#namespace = namespace
    const labelSelector = 'humanizer.dev/release,!humanizer.dev/attempt'
    this.#mirrors = {
      pods: new Mirror(client, { apiVersion: 'v1', kind: 'Pod', plural: 'pods', namespace, labelSelector }),
      configMaps: new Mirror(client, { apiVersion: 'v1', kind: 'ConfigMap', plural: 'configmaps', namespace }),
    }
    this.#loop = this.#run()
  }

  /** uids of the pods that live. */
  get uids(): string[] {
    return [...this.#pods.keys()]
  }

  get digests(): string[] {
    return [...this.#pods.values()].map(({ state }) => state.digest)
  }

  /** What each pod serves, and what share it gives to what. */
  get splits(): string[] {
    return [...this.#pods.values()].map(({ state }) => `${state.digest} ${state.splitPercent} % ${state.splitDigest}`)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#loop
    await Promise.all([this.#mirrors.pods.stop(), this.#mirrors.configMaps.stop()])
    for (const pod of this.#pods.values()) await close(pod)
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#pass().catch(() => undefined) // the API server may be away; the next pass sees the same
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  async #pass(): Promise<void> {
    const { items } = this.#mirrors.pods
    for (const [uid, pod] of this.#pods)
      if (!items.some(({ metadata }) => metadata.uid === uid)) {
        this.#pods.delete(uid)
        await close(pod)
      }
    const files: Files = new Map(
      this.#mirrors.configMaps.items.map(({ metadata, data }) => [metadata.name, data ?? {}]),
    )
    for (const item of items) {
      const uid = item.metadata.uid ?? ''
      if (!this.#pods.has(uid) && this.schedulerSays !== '') {
        await this.#unschedule(item)
        continue
      }
      const pod = this.#pods.get(uid) ?? (await this.#start(item, fileOf(files, item, 'config', 'config.json')))
      this.#pods.set(uid, pod)
      if (pod.restarts < this.restarts) await this.#restart(item, pod)
      if (!this.slowFiles || pod.state.loadedTime === '') {
        const desired = DesiredAdapter.fromJSON(JSON.parse(fileOf(files, item, 'desired', 'desired.json')))
        if (pod.file.generation !== desired.generation)
          pod.file = { generation: desired.generation, since: performance.now() }
        if (pod.state.loadedTime === '' || performance.now() - pod.file.since > FILE_DELAY_MS) this.#want(pod, desired)
      }
      if (!pod.ready && pod.state.loadedTime !== '') {
        pod.ready = true
        await this.#report(item, pod, true)
      }
    }
  }

  async #unschedule({ metadata: { uid = '', name } }: Pod): Promise<void> {
    if (this.#unscheduled.has(uid)) return
    this.#unscheduled.add(uid)
    const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: this.schedulerSays }
    await this.#client.request('PATCH', `${this.#path('pods')}/${name}/status`, {
      contentType: 'application/strategic-merge-patch+json',
      body: { status: { phase: 'Pending', conditions: [condition] } },
    })
  }

  async #start(item: Pod, configuration: string): Promise<StandIn> {
    const config = ServeConfig.fromJSON(JSON.parse(configuration))
    const uid = item.metadata.uid ?? ''
    const release = item.metadata.labels?.['humanizer.dev/release'] ?? ''
    const index = this.#started.get(release) ?? 0
    this.#started.set(release, index + 1)
    const ip = `${this.#subnet}.${this.#nextAddress++}`
    const http = createServer((request, response) => {
      if (this.silent) return response.destroy()
      if (request.method === 'POST') {
        pod.answered++
        response.writeHead(200, { 'x-humanizer-adapter-digest': pod.state.digest || 'base' })
        return response.end('{}')
      }
      const lie = this.lies.get(release) ?? this.lie
      const said = lie({ ...pod.state, answeredRequests: pod.answered }, pod)
      const body = typeof said === 'string' ? said : JSON.stringify(ServingState.toJSON(said))
      return response.writeHead(pod.state.loadedTime === '' ? 503 : 200).end(body)
    })
    http.listen(config.httpPort, ip)
    await once(http, 'listening')
    const handlers = service<ServingServiceServer>(ServingServiceService, {
      activate: async ({ desired }) => ({ state: this.#want(pod, desired ?? DesiredAdapter.fromPartial({})) }),
      deactivate: async ({ generation }) => ({ state: this.#want(pod, DesiredAdapter.fromPartial({ generation })) }),
      getStatus: async () => ({ state: pod.state }),
    })
    const calls = this.callsBlocked
      ? undefined
      : await startServer({
          trust: config.trust,
          podUid: uid,
          ownerUid: config.owner?.uid ?? '',
          attempt: 0,
          services: [handlers],
          host: ip,
        })
    const pod: StandIn = {
      uid,
      ip,
      http,
      calls,
      ready: false,
      answered: 0,
      startedAt: new Date().toISOString(),
      restarts: 0,
      index,
      file: { generation: 0, since: 0 },
      state: ServingState.fromPartial({ podUid: uid }),
    }
    await this.#report(item, pod, false)
    return pod
  }

  #want(pod: StandIn, { generation, digest, split }: DesiredAdapter): ServingState {
    if (generation <= Math.max(pod.state.generation, pod.state.failedGeneration)) return pod.state
    const { digest: splitDigest = '', percent: splitPercent = 0 } = split ?? {}
    const loadedTime = new Date().toISOString()
    pod.state =
      this.broken.has(digest) || this.broken.has(splitDigest)
        ? { ...pod.state, failure: 'adapter_model.safetensors differs from its manifest', failedGeneration: generation }
        : ServingState.fromPartial({ digest, generation, loadedTime, podUid: pod.uid, splitDigest, splitPercent })
    return pod.state
  }

  async #restart(item: Pod, pod: StandIn): Promise<void> {
    pod.restarts++
    pod.startedAt = new Date().toISOString()
    pod.ready = false
    pod.state = ServingState.fromPartial({ podUid: pod.uid })
    await this.#report(item, pod, false)
  }

  #report({ metadata }: Pod, { ip, startedAt, restarts }: StandIn, ready: boolean): Promise<void> {
    return reportRunning(this.#client, `${this.#path('pods')}/${metadata.name}`, { ip, startedAt, restarts, ready })
  }

  #path(resource: string): string {
    return `/api/v1/namespaces/${this.#namespace}/${resource}`
  }
}

/** The data of every ConfigMap of the namespace by its name. */
type Files = ReadonlyMap<string, Readonly<Record<string, string>>>

/** Content of a file of the ConfigMap that the pod mounts as `volume`. */
function fileOf(files: Files, { spec }: Pod, volume: string, file: string): string {
  const name = spec.volumes.find((each) => each.name === volume)?.configMap?.name
  return files.get(name ?? '')?.[file] ?? ''
}

async function close({ http, calls }: StandIn): Promise<void> {
  http.closeAllConnections()
  http.close()
  await calls?.close(100)
}

/** What the kubelet says of a pod that runs. `path` is the pod's. */
export async function reportRunning(
  client: ApiClient,
  path: string,
  {
    ip,
    startedAt,
    restarts = 0,
    ready,
  }: { readonly ip: string; readonly startedAt: string; readonly restarts?: number; readonly ready: boolean },
): Promise<void> {
  const condition = (type: string, holds: boolean) => ({ type, status: holds ? 'True' : 'False' })
  await client.request('PATCH', `${path}/status`, {
    contentType: 'application/strategic-merge-patch+json',
    body: {
      status: {
        phase: 'Running',
        podIP: ip,
        podIPs: [{ ip }],
        conditions: [condition('PodScheduled', true), condition('Ready', ready), condition('ContainersReady', ready)],
        containerStatuses: [
          {
            name: 'humanizer',
            image: 'trainer',
            imageID: 'trainer',
            ready,
            restartCount: restarts,
            state: { running: { startedAt } },
          },
        ],
      },
    },
  })
}
