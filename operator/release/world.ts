/** For tests: a small world that a release lives in, with pods that load what desired.json says, and a way to die at any effect. */
import type { DesiredAdapter, ServeConfig, ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import type { AdapterRelease, AdapterReleaseSpec, AdapterReleaseStatus } from '../api/generated/adapterrelease.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { KubeObject } from '../kube/cluster.ts'
import type { AttemptState } from '../workload/attempt-state.ts'
import type { Ending } from '../workload/ending.ts'
import { attemptLabel } from '../workload/names.ts'
import type { Release } from './adapter.ts'
import type { AdapterWork } from './adapter-job.ts'
import { nameConflict, type Refusal } from './children.ts'
import { mergeJobName } from './merge-job.ts'
import { currentMerge } from './merging.ts'
import { release, run, start } from './objects.ts'
import type { Asked, Observed, ServingPod } from './observed.ts'
import type { Probes } from './probes.ts'
import { pushJobName } from './push-job.ts'
import { currentPush } from './pushing.ts'
import { type Effects, reconcileRelease } from './reconcile.ts'
import { configName, desiredName, type ServingSettings } from './serving.ts'
import { load, newPod, seenPod, type WorldPod } from './world-pod.ts'

const nothing: AttemptState = { kind: 'absent' }

const running: AttemptState = {
  kind: 'running',
  pod: { name: 'merger', uid: 'merger-uid', ip: '10.0.0.9', ready: true, since: start },
}

const jobObject = (name: string): KubeObject => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name, uid: name, labels: { [attemptLabel]: name.split('-').at(-1)! } },
})

export class Died extends Error {}

interface Config {
  readonly 'config.json': string
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
  /** Merge Jobs by name. */
  readonly jobs = new Map<string, AttemptState>()
  /** How Jobs that merge end, in order; the last one stands for all later ones. */
  merges: readonly Ending[] = []
  /** The same of Jobs that push. */
  pushes: readonly Ending[] = []
  /** Why the pod of a Job does not start. */
  jobsWait: Extract<AttemptState, { kind: 'pending' }> | undefined
  /** What the API server says to a Job that pushes. */
  refusePush: Refusal | undefined
  dieAt = 0
  effects = 0
  now: Date = start

  constructor(object: AdapterRelease = release()) {
    this.object = object
  }

  /** Reconciles, as often as the operator would be woken, until it rests; an operator that died is started again. */
  async settle(): Promise<void> {
    for (let pass = 0; pass < 12; pass++) {
      const before = this.#lasting()
      await reconcileRelease(this.object, this, this.now).catch((error) => {
        if (!(error instanceof Died)) throw error
      })
      this.tick()
      if (this.#lasting() === before) return
    }
  }

  #lasting(): string {
    return JSON.stringify([this.object.status, [...this.children], [...this.jobs]])
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

  /** Every pod reads its desired.json, as it does each second; a Job that merges runs, then ends. */
  tick(): void {
    for (const [name, state] of this.jobs) {
      if (state.kind === 'pending') this.jobs.set(name, this.jobsWait ?? running)
      const endings = name.includes('-push-') ? this.pushes : this.merges
      const ending = endings[Math.min(Number(name.split('-').at(-1)), endings.length) - 1]
      if (state.kind === 'running' && ending) this.jobs.set(name, { kind: 'ended', ending })
    }
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

  async observe(release: Release, asked: Asked): Promise<Observed> {
    const pods = this.pods.map((pod) => this.#seen(pod, asked))
    const sources = { runs: this.runs, releases: this.releases }
    const stateOf = (work = { jobName: '' }): AttemptState => this.jobs.get(work.jobName) ?? nothing
    const jobs = [...this.jobs.keys()].map(jobObject)
    return structuredClone({
      sources,
      claim: this.claim,
      children: [...this.children.values()],
      pods,
      merge: stateOf(currentMerge(release)),
      push: stateOf(currentPush(release)),
      jobs,
      asked,
    })
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

  async merge(release: Release, { adapter, attempt }: AdapterWork): Promise<undefined> {
    this.#begin(mergeJobName(release.metadata.name, adapter.digest, attempt))
  }

  async push(release: Release, { adapter, attempt }: AdapterWork): Promise<Refusal | undefined> {
    if (!this.refusePush) this.#begin(pushJobName(release.metadata.name, adapter.digest, attempt))
    return this.refusePush
  }

  #begin(name: string): void {
    if (!this.jobs.has(name))
      this.jobs.set(name, { kind: 'pending', reason: 'Scheduling', message: 'it waits for a node' })
    this.#effect()
  }

  async retire(_: Release, objects: readonly KubeObject[]): Promise<undefined> {
    for (const { kind, metadata } of objects) {
      this.children.delete(`${kind}/${metadata.name}`)
      if (kind === 'Job') this.jobs.delete(metadata.name)
      if (kind === 'Deployment')
        this.pods.splice(0, this.pods.length, ...this.pods.filter((pod) => pod.deployment !== metadata.name))
      this.#effect()
    }
  }

  async liveRuns(): Promise<ReadonlyMap<string, string>> {
    return new Map(this.runs.map(({ metadata }) => [metadata.name, metadata.uid ?? '']))
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
      this.pods.push(newPod(name, index))
  }

  #load(pod: WorldPod, desired: DesiredAdapter): void {
    const config = this.children.get(`ConfigMap/${configName(pod.deployment)}`)?.['data']
    const { mergedDigest = '' } = JSON.parse(
      (config as Config | undefined)?.['config.json'] ?? '{}',
    ) as Partial<ServeConfig>
    load(pod, desired, mergedDigest, this)
  }

  #seen(pod: WorldPod, { silent }: Asked): ServingPod {
    const { uid, state, answered } = pod
    const isAsked = !silent.has(uid)
    const said = isAsked ? this.lie({ ...state, podUid: uid, answeredRequests: answered }) : undefined
    if (isAsked && !said) this.questions++
    return { ...seenPod(pod, said, this), ...this.podsLook }
  }
}
