/** For tests: a small world that a release lives in, with pods that load what desired.json says, and a way to die at any effect. */
import { type DesiredAdapter, ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import type { AdapterRelease, AdapterReleaseSpec, AdapterReleaseStatus } from '../api/generated/adapterrelease.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { KubeObject } from '../kube/cluster.ts'
import type { Release, Status } from './adapter.ts'
import { nameConflict, type Refusal } from './children.ts'
import type { Asked, Observed, ServingPod } from './observed.ts'
import { ownWords } from './pods.ts'
import type { Probes } from './probes.ts'
import { type Effects, reconcileRelease } from './reconcile.ts'
import { desiredName, type ServingSettings } from './serving.ts'

export const digestOf = (letter: string): string => `sha256:${letter.repeat(64)}`
export const start = new Date('2026-01-01T00:00:00Z')

export function release(spec: Partial<AdapterReleaseSpec> = {}, status?: Status | AdapterReleaseStatus): Release {
  return {
    apiVersion: 'humanizer.dev/v1alpha1',
    kind: 'AdapterRelease',
    metadata: { name: 'writer', namespace: 'team', uid: 'release-uid', generation: 1 },
    spec: {
      source: { run: { name: 'prose', checkpoint: 'Best' } },
      serving: { port: 8000 },
      rollback: { mode: 'Automatic', to: 'Previous', windowSeconds: 1800, maxRestarts: 2, minRequests: 20 },
      pod: {},
      storage: { claimName: 'humanizer', reclaimPolicy: 'Retain' },
      ...spec,
    },
    ...(status && { status: status as Status }),
  }
}

export interface RunOptions {
  readonly name?: string
  readonly uid?: string
  readonly ended?: 'True' | 'False' | 'Unknown'
  readonly baseline?: string
  readonly model?: string
  /** Claim of the base model; the run's own when absent. */
  readonly modelClaim?: string
  readonly dataset?: string
  /** Digest letter by step; a capital B in `best`. */
  readonly checkpoints?: readonly { step: number; letter: string; evalLoss?: string; best?: boolean }[]
}

const twoCheckpoints = [
  { step: 12, letter: 'a', evalLoss: '1.9' },
  { step: 24, letter: 'b', evalLoss: '1.8', best: true },
] as const

/** A run that has succeeded with checkpoint-12 (a, 1.9) and checkpoint-24 (b, 1.8, best) over a baseline of 2.0. */
export function run(options: RunOptions = {}): QLoRARun {
  const { name = 'prose', uid = `${name}-uid`, ended = 'True', model = 'm', dataset = 'd' } = options
  return {
    apiVersion: 'humanizer.dev/v1alpha1',
    kind: 'QLoRARun',
    metadata: { name, namespace: 'team', uid },
    spec: {
      quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true },
      baseModel: { volume: { claimName: options.modelClaim ?? 'humanizer', path: `models/${model}` } },
      storage: { claimName: 'humanizer', reclaimPolicy: 'Retain' },
    },
    status: {
      conditions: [
        { type: 'Succeeded', status: ended, reason: 'R', message: '', observedGeneration: 1, lastTransitionTime: '' },
      ],
      datasetDigest: digestOf(dataset),
      baseline: { loss: options.baseline ?? '2.0' },
      model: { path: `models/${model}`, digest: digestOf(model), name: model },
      format: { sample: 'Denoise', systemPrompt: 's', userTemplate: '{text}' },
      checkpoints: (options.checkpoints ?? twoCheckpoints).map(({ step, letter, ...rest }) => ({
        name: `checkpoint-${step}`,
        step,
        digest: digestOf(letter),
        path: `runs/team/${name}/${uid}/checkpoint-${step}`,
        ...rest,
      })),
    },
  } as unknown as QLoRARun
}

export class Died extends Error {}

interface WorldPod {
  uid: string
  deployment: string
  state: ServingState
  terminating: boolean
  /** Requests answered since it began. */
  answered: number
}

/** In-memory effects. What outlives the operator is here; `dieAt` counts effects and throws Died once, after that effect. */
export class World implements Effects {
  readonly settings: ServingSettings = {
    namespace: 'humanizer-system',
    publicKeyPem: 'PEM',
    trainerImage: 'trainer:1',
    trainerImagePullPolicy: 'IfNotPresent',
  }
  object: AdapterRelease
  runs: QLoRARun[] = [run()]
  releases: Release[] = []
  claim: Observed['claim'] = { name: 'humanizer', accessModes: ['ReadWriteMany'] }
  readonly children = new Map<string, KubeObject>()
  readonly pods: WorldPod[] = []
  readonly events: string[] = []
  /** Digests that no pod can load. */
  readonly broken = new Set<string>()
  /** Activate does not reach the pods; they read desired.json when `tick` is called. */
  callsBlocked = false
  /** No new pod finds a node. */
  full = false
  /** What pods say instead of the truth. */
  lie: (state: ServingState) => ServingState | undefined = (state) => state
  /** Names that belong to somebody else. */
  readonly foreign = new Set<string>()
  /** What the API server says to an object. */
  refuse: (object: KubeObject) => Refusal | undefined = () => undefined
  /** The scheduler's words when the cluster is full. */
  schedulerSays = '0/1 nodes have room'
  /** Why pods cannot load what is broken. */
  failure = 'adapter_model.safetensors differs from its manifest'
  /** What Kubernetes says of every pod instead of the truth. */
  podsLook: { readonly ready?: boolean; readonly restarts?: number } = {}
  /** What the clock of a reconcile says; a switch takes 700. */
  milliseconds = 0
  /** Requests of the operator that no pod answers, at each switch. */
  lostProbes = 0
  /** Calls of Activate, and questions that a silent pod was asked. */
  activated = 0
  questions = 0
  dieAt = 0
  effects = 0
  now: Date = start

  constructor(object: AdapterRelease = release()) {
    this.object = object
  }

  /** Reconciles, as often as the operator would be woken, until it rests; an operator that died is started again. */
  async settle(): Promise<void> {
    for (let pass = 0; pass < 12; pass++) {
      const before = JSON.stringify([this.object.status, [...this.children]])
      await reconcileRelease(this.object, this, this.now).catch((error) => {
        if (!(error instanceof Died)) throw error
      })
      this.tick()
      if (JSON.stringify([this.object.status, [...this.children]]) === before) return
    }
  }

  pass(seconds: number): void {
    this.now = new Date(this.now.getTime() + seconds * 1000)
  }

  /** The user applies another spec. */
  edit(spec: Partial<AdapterReleaseSpec>): void {
    const { metadata } = this.object
    this.object = {
      ...this.object,
      metadata: { ...metadata, generation: (metadata.generation ?? 0) + 1 },
      spec: { ...this.object.spec, ...spec },
    }
  }

  /** Every pod reads its desired.json, as it does each second. */
  tick(): void {
    for (const pod of this.pods) {
      const desired = this.children.get(`ConfigMap/${desiredName(this.object, pod.deployment)}`)
      const text = (desired?.['data'] as { 'desired.json': string } | undefined)?.['desired.json']
      if (text) this.#load(pod, JSON.parse(text) as DesiredAdapter)
    }
  }

  ready(): string {
    const found = this.object.status?.conditions?.find(({ type }) => type === 'Ready')
    return `${found?.status}/${found?.reason}`
  }

  /** Deployment that the Service leads to. */
  serviceTo(): unknown {
    const service = this.children.get('Service/writer')?.['spec'] as { selector: Record<string, string> } | undefined
    return service?.selector['humanizer.dev/serving']
  }

  async observe(_: Release, asked: Asked): Promise<Observed> {
    const pods = this.pods.map((pod) => this.#seen(pod, asked))
    const sources = { runs: this.runs, releases: this.releases }
    return structuredClone({ sources, claim: this.claim, children: [...this.children.values()], pods, asked })
  }

  async writeStatus(object: AdapterRelease, status: AdapterReleaseStatus): Promise<AdapterRelease> {
    this.object = { ...this.object, spec: object.spec, status: structuredClone(status) }
    this.#effect()
    return this.object
  }

  async apply(_: Release, objects: readonly KubeObject[]): Promise<Refusal | undefined> {
    for (const object of objects) {
      if (this.foreign.has(object.metadata.name)) return nameConflict(object)
      const refusal = this.refuse(object)
      if (refusal) return refusal
      this.children.set(`${object.kind}/${object.metadata.name}`, structuredClone(object))
      if (object.kind === 'Deployment') this.#rollOut(object.metadata.name)
      this.#effect()
    }
    return undefined
  }

  async activate(
    _: Release,
    pods: readonly ServingPod[],
    desired: DesiredAdapter,
    underLoad: readonly ServingPod[],
  ): Promise<Probes> {
    for (const { uid } of underLoad) {
      const pod = this.pods.find((each) => each.uid === uid)
      if (pod) pod.answered += 3
    }
    for (const { uid } of pods) {
      this.activated++
      const pod = this.pods.find((each) => each.uid === uid)
      if (pod && !this.callsBlocked) this.#load(pod, desired)
    }
    this.milliseconds += 700
    this.#effect()
    return { answered: 3 * underLoad.length, lost: this.lostProbes }
  }

  elapsed(): number {
    return this.milliseconds
  }

  async retire(_: Release, objects: readonly KubeObject[]): Promise<undefined> {
    for (const { kind, metadata } of objects) {
      this.children.delete(`${kind}/${metadata.name}`)
      if (kind === 'Deployment')
        this.pods.splice(0, this.pods.length, ...this.pods.filter((pod) => pod.deployment !== metadata.name))
      this.#effect()
    }
  }

  async event(_: AdapterRelease, type: string, reason: string): Promise<void> {
    this.events.push(`${type} ${reason}`)
  }

  #effect(): void {
    this.effects++
    if (this.effects === this.dieAt) throw new Died(`after effect ${this.effects}`)
  }

  /** The Deployment's own controller. */
  #rollOut(name: string): void {
    const deployment = this.children.get(`Deployment/${name}`)
    if (!deployment) return
    const replicas = (deployment['spec'] as { replicas?: number }).replicas ?? 1
    Object.assign(deployment, { status: { observedGeneration: 1, replicas, updatedReplicas: replicas } })
    for (let index = this.pods.filter((pod) => pod.deployment === name).length; index < replicas; index++)
      this.pods.push({
        uid: `${name}-${index}`,
        deployment: name,
        state: ServingState.fromPartial({}),
        terminating: false,
        answered: 0,
      })
  }

  /** The pod's own rules (trainer-image/serve/switch.ts). */
  #load(pod: WorldPod, desired: DesiredAdapter): void {
    const { state } = pod
    const homeless = this.full && state.generation === 0
    if (homeless || Number(desired.generation) < Math.max(state.generation, state.failedGeneration)) return
    const digest = desired.digest ?? ''
    const generation = Number(desired.generation)
    pod.state = this.broken.has(digest)
      ? { ...state, failure: this.failure, failedGeneration: generation }
      : ServingState.fromPartial({ digest, generation, loadedTime: start.toISOString(), podUid: pod.uid })
  }

  #seen({ uid, deployment, state, terminating, answered }: WorldPod, { silent }: Asked): ServingPod {
    const isNew = state.generation === 0
    const answer = silent.has(uid) ? undefined : this.lie({ ...state, podUid: uid, answeredRequests: answered })
    const said = ownWords(answer, uid, start.toISOString())
    if (!answer && !silent.has(uid)) this.questions++
    return {
      name: uid,
      uid,
      deployment,
      ip: isNew && this.full ? undefined : '10.0.0.1',
      ready: !isNew,
      terminating,
      restarts: 0,
      trouble: isNew && this.full ? { kind: 'unschedulable', message: this.schedulerSays } : undefined,
      state: said,
      ...this.podsLook,
    }
  }
}
