/**
 * The cluster that test/cluster shares: started once, images loaded, the chart installed. Each test works in a namespace of its
 * own whose claim already holds the tiny model and the prose, so that nothing has to be downloaded.
 */
import { type ChildProcess, execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ApiClient, loadKubeConfig } from '../../operator/kube/client.ts'
import { NotFound } from '../../operator/kube/errors.ts'
import { pathOf, pluralOf } from '../../operator/kube/path.ts'
import { spawnTied } from '../child.ts'
import {
  buildImages,
  type Cluster,
  getJson,
  installChart,
  kubectl,
  loadImages,
  startCluster,
  systemNamespace,
  waitFor,
} from './kubectl.ts'
import type { Condition, CustomObject, Pod } from './objects.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..', '..')
const name = 'test'
const operator = 'deployment/humanizer'

/** Short names of the three kinds, as kubectl takes them. */
const shortNames: Readonly<Record<string, string>> = { hds: 'HumanizerDataset', qlr: 'QLoRARun', arl: 'AdapterRelease' }

/** Starts what is not there yet and resolves the shared cluster with its operator running. */
export async function openWorld(): Promise<World> {
  const cluster = await startCluster(name, 16444)
  const images = await buildImages({})
  const image = (component: string): string => images[`${component}_IMAGE`] ?? ''
  const installed = await getJson<{
    spec: { template: { spec: { containers: { image: string; env: { name: string; value?: string }[] }[] } } }
  }>(cluster, ['-n', systemNamespace, operator])
  const container = installed?.spec.template.spec.containers[0]
  const trainer = container?.env.find((variable) => variable.name === 'TRAINER_IMAGE')?.value
  if (container?.image !== image('OPERATOR') || trainer !== image('TRAINER')) {
    await loadImages(name, [images['OPERATOR_ARCHIVE'] ?? '', images['TRAINER_ARCHIVE'] ?? ''])
    await installChart(cluster, image('OPERATOR'), image('TRAINER'))
  }
  return new World(cluster)
}

export class World {
  readonly cluster: Cluster
  /** For what is asked over and over: a kubectl each time would take the processor from the pods. */
  readonly client: ApiClient
  constructor(cluster: Cluster) {
    this.cluster = cluster
    this.client = new ApiClient(loadKubeConfig({ file: cluster.kubeconfig! }), { timeoutMs: 10_000 })
  }

  get #runDir(): string {
    return this.cluster.runDir!
  }

  /** Number of operator pods; 0 waits until none is left. */
  async scaleOperator(replicas: number): Promise<void> {
    await kubectl(this.cluster, ['-n', systemNamespace, 'scale', operator, `--replicas=${replicas}`])
    if (replicas > 0) {
      await kubectl(this.cluster, ['-n', systemNamespace, 'rollout', 'status', operator, '--timeout=240s'])
      return
    }
    await waitFor('the operator to be gone', 120, async () => {
      const pods = await kubectl(this.cluster, ['-n', systemNamespace, 'get', 'pods', '-o', 'name'])
      return pods.includes('humanizer') ? undefined : true
    })
  }

  /** Image that the operator starts its Jobs with. */
  async trainerImage(): Promise<string> {
    const path = '{.spec.template.spec.containers[0].env[?(@.name=="TRAINER_IMAGE")].value}'
    return kubectl(this.cluster, ['-n', systemNamespace, 'get', operator, '-o', `jsonpath=${path}`])
  }

  /** Runs a program of the host inside the cluster's network, where pods and Services have their addresses. */
  async inNetwork(program: string, args: readonly string[]): Promise<string> {
    return (await run('nsenter', [...this.#network, program, ...args], { maxBuffer: 16 << 20 })).stdout
  }

  /** The same for one that runs on beside the test. */
  startInNetwork(program: string, args: readonly string[]): ChildProcess {
    return spawnTied('nsenter', [...this.#network, program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  }

  get #network(): readonly string[] {
    return ['-t', readFileSync(join(this.#runDir, 'pid.init'), 'utf8').trim(), '-n']
  }

  /** What a GET of an address in the cluster's network answers. */
  get(url: string): Promise<string> {
    const program = 'fetch(process.argv[1]).then((answer) => answer.text()).then((text) => process.stdout.write(text))'
    return this.inNetwork(process.execPath, ['-e', program, url])
  }

  /** PKCS #8 PEM of the key that the operator signs its calls with. */
  async signingKey(): Promise<string> {
    const path = "jsonpath={.data['ed25519\\.pem']}"
    const secret = ['-n', systemNamespace, 'get', 'secret', 'humanizer-signing-key', '-o', path]
    return Buffer.from(await kubectl(this.cluster, secret), 'base64').toString()
  }

  /** Signals the only container of a pod: SIGKILL as a crash would, SIGSTOP to hold it where it is until SIGCONT. */
  async signal(pod: Pod, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    const id = pod.status.containerStatuses?.[0]?.containerID?.replace('containerd://', '')
    if (id === undefined) throw new Error(`pod ${pod.metadata.name} has no container yet`)
    const socket = join(this.#runDir, 'containerd.sock')
    await run('ctr', ['-a', socket, '-n', 'k8s.io', 'tasks', 'kill', '-s', signal, id])
  }

  /** A fresh namespace whose claim "humanizer" holds fixtures/tiny-llama and fixtures/prose.jsonl. */
  async openNamespace(namespace: string): Promise<Namespace> {
    const taken = JSON.parse(await kubectl(this.cluster, ['get', 'pv', '-o', 'json'])) as {
      items: { metadata: { name: string }; spec: { local: { path: string } }; status: { phase: string } }[]
    }
    const volume = taken.items.find(({ status }) => status.phase === 'Available')
    if (!volume) throw new Error('no volume is free; start the cluster anew')
    const folder = join(volume.spec.local.path, 'fixtures')
    mkdirSync(folder, { recursive: true })
    cpSync(join(root, 'test', 'fixtures', 'tiny-llama'), join(folder, 'tiny-llama'), { recursive: true })
    cpSync(join(root, 'test', 'fixtures', 'prose.jsonl'), join(folder, 'prose.jsonl'))
    await kubectl(
      this.cluster,
      ['apply', '-f', '-'],
      `apiVersion: v1
kind: Namespace
metadata: {name: ${namespace}, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: humanizer, namespace: ${namespace}}
spec: {accessModes: [ReadWriteMany], storageClassName: local, volumeName: ${volume.metadata.name}, resources: {requests: {storage: 1Gi}}}
`,
    )
    return new Namespace(this, namespace, volume.spec.local.path)
  }
}

export class Namespace {
  readonly world: World
  readonly name: string
  /** The claim's folder as this machine sees it. */
  readonly folder: string
  constructor(world: World, name: string, folder: string) {
    this.world = world
    this.name = name
    this.folder = folder
  }

  kubectl(args: readonly string[], input?: string): Promise<string> {
    return kubectl(this.world.cluster, ['-n', this.name, ...args], input)
  }

  apply(kind: string, name: string, spec: object): Promise<string> {
    return this.kubectl(
      ['apply', '-f', '-'],
      JSON.stringify({ apiVersion: 'humanizer.dev/v1alpha1', kind, metadata: { name }, spec }),
    )
  }

  patch(kind: string, name: string, spec: object): Promise<string> {
    return this.kubectl(['patch', kind, name, '--type=merge', '-p', JSON.stringify({ spec })])
  }

  async get(kind: string, name: string): Promise<CustomObject | undefined> {
    const path = pathOf('humanizer.dev/v1alpha1', pluralOf(shortNames[kind] ?? kind), this.name, name)
    return this.world.client.request<CustomObject>('GET', path).catch((error: unknown) => {
      if (error instanceof NotFound) return undefined
      throw error
    })
  }

  async pods(labelSelector: string): Promise<readonly Pod[]> {
    const query = { labelSelector }
    return (await this.world.client.request<{ items: Pod[] }>('GET', pathOf('v1', 'pods', this.name), { query })).items
  }

  /** Waits until `probe` holds of the object and resolves with it. */
  until(
    kind: string,
    name: string,
    what: string,
    seconds: number,
    probe: (object: CustomObject) => boolean,
  ): Promise<CustomObject> {
    let seen: CustomObject | undefined
    return waitFor(`${kind}/${name} ${what}`, seconds, async () => {
      seen = await this.get(kind, name)
      return seen && probe(seen) ? seen : undefined
    }).catch((error: Error) => {
      throw new Error(`${error.message}; last status: ${JSON.stringify(seen?.status?.conditions)}`)
    })
  }

  ready(kind: string, name: string, seconds = 240): Promise<CustomObject> {
    return this.until(kind, name, 'to be Ready', seconds, (object) => holds(object, 'Ready'))
  }

  /** Names of the files below a folder of the claim; empty when it does not exist. */
  files(path: string): readonly string[] {
    try {
      return readdirSync(join(this.folder, path))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  }

  /** Steps of the sealed checkpoints that a run has on the claim now, ascending. */
  sealed(run: CustomObject): readonly number[] {
    const folder = runFolder(this.name, run)
    return this.files(folder)
      .filter((file) => existsSync(join(this.folder, folder, file, 'manifest.json')))
      .flatMap((file) => (/^checkpoint-(\d+)$/.exec(file) ?? []).slice(1).map(Number))
      .sort((a, b) => a - b)
  }
}

/** Where a run's files lie on the claim. */
export const runFolder = (namespace: string, { metadata }: CustomObject): string =>
  `runs/${namespace}/${metadata.name}/${metadata.uid}`

export const condition = (object: CustomObject, type: string): Condition | undefined =>
  object.status?.conditions?.find((candidate) => candidate.type === type)

export const holds = (object: CustomObject, type: string): boolean => condition(object, type)?.status === 'True'

/** A small dataset of the prose on the claim. Another limit makes another content, and so another folder. */
export const datasetSpec = (limit = 200, changes: object = {}): object => ({
  sources: [
    {
      name: 'prose',
      volume: { claimName: 'humanizer', path: 'fixtures/prose.jsonl' },
      textColumn: 'text',
      license: 'CC0-1.0',
      limit,
    },
  ],
  format: { sample: 'Denoise' },
  ...changes,
})

/** A run of the tiny model; some seconds long, so that there is time to disturb it. */
export const runSpec = (steps: number, changes: object = {}): object => ({
  datasetRef: { name: 'prose' },
  baseModel: { volume: { claimName: 'humanizer', path: 'fixtures/tiny-llama' } },
  backend: 'CPU',
  lora: { rank: 4 },
  training: {
    maxSteps: steps,
    maxSequenceLength: 256,
    microBatchSize: 2,
    gradientAccumulation: 2,
    learningRate: '1e-3',
  },
  evaluation: { everySteps: 20, maxExamples: 8, samples: 2 },
  checkpoints: { everySteps: 20, keep: 3 },
  earlyStopping: { patience: 0 },
  logging: { everySteps: 5 },
  ...changes,
})
