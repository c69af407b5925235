/** For tests: a small world that a run lives in, with a kubelet that does what a script says, and a way to die at any effect. */
import type { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'
import type { Checkpoint, RunReport } from '#proto/humanizer/trainer/v1/run.ts'
import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { QLoRARun, QLoRARunSpec } from '../api/generated/qlorarun.ts'
import type { AttemptState } from '../workload/attempt-state.ts'
import type { Others } from './checklist.ts'
import type { Decision, Observed, Status, Trainer } from './decide.ts'
import { type RunEffects, reconcileRun } from './reconcile.ts'

export const start = new Date('2026-01-01T00:00:00Z')
export const digestOf = (letter: string): string => `sha256:${letter.repeat(64)}`

export function run(spec: Partial<QLoRARunSpec> = {}, status?: Status): QLoRARun {
  return {
    apiVersion: 'humanizer.dev/v1alpha1',
    kind: 'QLoRARun',
    metadata: { name: 'prose', namespace: 'team', uid: 'run-uid', generation: 1 },
    spec: {
      datasetRef: { name: 'prose' },
      baseModel: { volume: { claimName: 'models', path: 'tiny.gguf' } },
      quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true, computeDType: 'Auto' },
      lora: { rank: 32, alpha: 16, dropout: '0.05', targetModules: [], rankStabilized: false },
      training: {
        epochs: 2,
        learningRate: '1.5e-4',
        learningRateSchedule: 'Cosine',
        warmupRatio: '0.03',
        microBatchSize: 4,
        gradientAccumulation: 4,
        maxSequenceLength: 1024,
        activationCheckpointing: 'Auto',
        packing: true,
        optimizer: 'AdamW',
        weightDecay: '0.0',
        maxGradientNorm: '1.0',
        seed: 42,
      },
      evaluation: { everySteps: 200, maxExamples: 256 },
      checkpoints: { everySteps: 500, keep: 3 },
      earlyStopping: { patience: 3, minImprovement: '0.0' },
      logging: { everySteps: 25, tensorBoard: true },
      backend: 'Auto',
      suspend: false,
      maxRetries: 3,
      progressDeadlineSeconds: 600,
      pod: {},
      storage: { claimName: 'humanizer', reclaimPolicy: 'Retain' },
      ...spec,
    },
    ...(status && { status }),
  }
}

export function dataset(ready = true): HumanizerDataset {
  const says = { reason: 'Prepared', message: '', observedGeneration: 1, lastTransitionTime: start.toISOString() }
  const format = { sample: 'Denoise' as const, systemPrompt: 'Rewrite.', userTemplate: '{text}' }
  return {
    apiVersion: 'humanizer.dev/v1alpha1',
    kind: 'HumanizerDataset',
    metadata: { name: 'prose', namespace: 'team', generation: 1 },
    spec: {
      sources: [],
      cleaning: { minCharacters: 50, maxCharacters: 8000, minWords: 10, removeUrls: true, removeEmails: true },
      deduplication: { exact: true, nearThreshold: '0.85', shingleWords: 5 },
      split: { trainPercent: 95, seed: 42 },
      format,
      licensePolicy: { requireDeclared: true, allowed: [] },
      review: { required: false },
      memory: '2Gi',
      pod: {},
      storage: { claimName: 'humanizer', reclaimPolicy: 'Retain' },
    },
    status: {
      digest: digestOf('d'),
      location: `datasets/${'d'.repeat(64)}`,
      format,
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False', ...says }],
    },
  }
}

const checkpoint: Checkpoint = {
  name: 'checkpoint-30',
  step: 30,
  digest: digestOf('a'),
  path: 'runs/x/checkpoint-30',
  evaluation: undefined,
  best: true,
}

export const report = (fields: Partial<RunReport> = {}): RunReport => ({
  state: 'RUN_STATE_TRAINING',
  progress: {
    step: 10,
    totalSteps: 30,
    epoch: 0.5,
    trainLoss: 2,
    evalLoss: undefined,
    tokensPerSecond: 100,
    learningRate: undefined,
    gradientNorm: undefined,
    remainingSeconds: 70,
    peakMemoryBytes: 0,
    gpu: undefined,
  },
  baseline: undefined,
  checkpoints: [],
  data: undefined,
  exact: true,
  resumedFromStep: 0,
  stoppedEarly: false,
  warnings: [],
  diagnosis: undefined,
  tracking: undefined,
  ...fields,
})

const nothing = { message: '', preparation: undefined, fetch: undefined, run: undefined }
export const completed = (fields: Partial<JobResult>): AttemptState => ({
  kind: 'ended',
  ending: {
    kind: 'completed',
    result: { ownerUid: 'run-uid', attempt: 1, reason: 'Completed', ...nothing, ...fields },
  },
})
export const failed = (reason: string): AttemptState => ({
  kind: 'ended',
  ending: { kind: 'failed', reason, message: 'words' },
})
export const disrupted: AttemptState = { kind: 'ended', ending: { kind: 'disrupted', message: 'the pod was deleted' } }
export const running: AttemptState = {
  kind: 'running',
  pod: { name: 'pod', uid: 'pod-uid', ip: '10.0.0.1', ready: true, since: start },
}
export const model = { path: 'models/tiny', digest: digestOf('b'), revision: '', name: 'tiny' }
export const finished = completed({ run: report({ state: 'RUN_STATE_SUCCEEDED', checkpoints: [checkpoint] }) })
export const fetched = completed({ fetch: { model, bytes: 1 } })

/** No dataset any more, and no release. */
export const nobody: Others = { dataset: undefined, releases: [] }

export class Died extends Error {}

/** What becomes of the pod of one attempt of training, each entry once. The last entry stands for all later ones. */
export type Script = readonly AttemptState[]

export class World implements RunEffects {
  object: QLoRARun
  readonly datasets = new Map([['prose', dataset()]])
  releases: AdapterRelease[] = []
  claim = true
  /** Jobs by name, with where their pod is. */
  readonly jobs = new Map<string, AttemptState>()
  /** Every Job that ever was made, in order. */
  readonly made: string[] = []
  readonly reasons: string[] = []
  trainer: Trainer = {}
  now = start
  /** What becomes of the pods that fetch, in order; the last entry stands for all later ones. */
  fetches: readonly AttemptState[] = [fetched]
  readonly #script: AttemptState[]
  #dieAt: number
  #version = 1

  constructor(object: QLoRARun, script: Script, dieAt = Number.POSITIVE_INFINITY) {
    this.object = { ...object, metadata: { ...object.metadata, resourceVersion: '1' } }
    this.#script = [...script]
    this.#dieAt = dieAt
  }

  async observe(run: QLoRARun): Promise<Observed> {
    const fetchName = `prose-fetch-${run.status?.fetch?.number}`
    const last = run.status?.attempts?.at(-1)
    const trainName = `prose-train-${last?.number}`
    const kept = run.spec.suspend
      ? []
      : [fetchName, last && (!last.finishTime || run.status?.completionTime) ? trainName : '']
    const others = [...this.jobs.keys()].filter((name) => !kept.includes(name))
    return {
      dataset: this.datasets.get(run.spec.datasetRef.name),
      releases: this.releases,
      claim: this.claim ? { name: 'humanizer', accessModes: ['ReadWriteOnce'] } : undefined,
      fetch: this.jobs.get(fetchName) ?? { kind: 'absent' },
      attempt: this.jobs.get(trainName) ?? { kind: 'absent' },
      trainer: this.trainer,
      remains: { jobs: others.map((name) => ({ name, uid: name })), pods: others },
    }
  }

  async record(run: QLoRARun, status: Status): Promise<QLoRARun> {
    if (JSON.stringify(run.status) === JSON.stringify(status)) return run
    if (run.metadata.resourceVersion !== this.object.metadata.resourceVersion) throw new Error('conflict')
    this.#maybeDie()
    const metadata = { ...run.metadata, resourceVersion: String(++this.#version) }
    this.object = { ...run, metadata, status }
    const reason = status.conditions?.find(({ type }) => type === 'Ready')?.reason ?? ''
    if (this.reasons.at(-1) !== reason) this.reasons.push(reason)
    this.#maybeDie()
    return this.object
  }

  async act(_run: QLoRARun, decision: Decision): Promise<undefined> {
    const name = 'attempt' in decision ? `prose-${decision.kind}-${decision.attempt}` : ''
    switch (decision.kind) {
      case 'fetch':
      case 'train':
        this.#maybeDie()
        if (!this.jobs.has(name)) this.made.push(name)
        if (!this.jobs.has(name)) this.jobs.set(name, { kind: 'pending', reason: 'Scheduling', message: '' })
        return this.#maybeDie()
      case 'clear':
      case 'suspend':
        for (const { name } of decision.remains.jobs) {
          this.#maybeDie()
          this.jobs.delete(name)
        }
        return undefined
      default:
        return undefined
    }
  }

  /** What the kubelet does next: a pending pod runs, a running one ends as the script says. */
  kubelet(): void {
    for (const [name, state] of this.jobs) {
      if (state.kind === 'pending') this.jobs.set(name, running)
      if (state.kind !== 'running') continue
      const fetch = this.fetches[Math.min(Number(name.split('-').at(-1)), this.fetches.length) - 1]
      if (name.includes('-fetch-')) this.jobs.set(name, fetch!)
      else this.jobs.set(name, (this.#script.length > 1 ? this.#script.shift() : this.#script[0])!)
    }
  }

  /** Reconciles until nothing changes any more; dying and coming back is part of it. */
  async settle(rounds = 60): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      this.now = new Date(this.now.getTime() + 30_000)
      try {
        await reconcileRun(this.object, this, this.now)
      } catch (error) {
        if (!(error instanceof Died)) throw error
      }
      this.kubelet()
    }
  }

  #maybeDie(): undefined {
    if (this.#dieAt-- === 0) throw new Died()
  }
}
