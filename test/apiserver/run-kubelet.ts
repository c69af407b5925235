/** Plays the kubelet and the trainer image for the pods of Jobs: what runs, how it ends and what it tells. */
import type { ApiClient } from '../../operator/kube/client.ts'
import type { KubeObject } from '../../operator/kube/cluster.ts'
import { Mirror } from './mirror.ts'

/** A pod that a Job's controller made. */
export interface JobPod {
  readonly name: string
  readonly job: string
  readonly command: string
  readonly ownerUid: string
  readonly attempt: number
}

export interface PodEnd {
  readonly kind: 'end'
  readonly exitCode: number
  readonly reason?: string
  /** A string is told as it is. */
  readonly result?: object | string
}

/** What the pod's container does. */
export type PodScript =
  /** Runs on until the test does something, at 127.0.0.1 or another address. */
  | { readonly kind: 'run'; readonly ip?: string }
  /** Runs and never listens. */
  | { readonly kind: 'hang' }
  | PodEnd
  /** Evicted by the eviction API: the Job replaces it. */
  | { readonly kind: 'evict' }

export const digestOf = (letter: string): string => `sha256:${letter.repeat(64)}`

const results: Readonly<Record<string, object>> = {
  prepare: {
    digest: digestOf('d'),
    location: `datasets/${'d'.repeat(64)}`,
    counts: { read: 120, notHuman: 10, tooShort: 5, exactDuplicates: 3, nearDuplicates: 2, train: 95, validation: 5 },
    sources: [{ name: 'prose', license: 'CC0-1.0', counts: { read: 120, train: 95, validation: 5 } }],
    summary: '100 of 120 rows are left.',
  },
  fetch: { model: { path: 'models/tiny', digest: digestOf('b'), name: 'tiny' }, bytes: 1000 },
  merge: {
    model: { path: `merged/${'9'.repeat(64)}`, digest: digestOf('9'), name: 'tiny' },
    adapterDigest: digestOf('b'),
    bytes: 1000,
    logitError: 0.002,
    adapterEffect: 0.3,
  },
  upload: { digest: digestOf('b'), reference: `ghcr.io/team/writer@${digestOf('8')}`, files: 5 },
  train: {
    state: 'RUN_STATE_SUCCEEDED',
    progress: { step: 30, totalSteps: 30, epoch: 2, trainLoss: 1.84, evalLoss: 1.9, tokensPerSecond: 120.5 },
    baseline: { loss: 2.01 },
    checkpoints: [
      {
        name: 'checkpoint-15',
        step: 15,
        digest: digestOf('1'),
        path: 'runs/x/checkpoint-15',
        evaluation: { step: 15, loss: 1.95 },
      },
      {
        name: 'checkpoint-30',
        step: 30,
        digest: digestOf('2'),
        path: 'runs/x/checkpoint-30',
        evaluation: {
          step: 30,
          loss: 1.9,
          metrics: [
            { name: 'improvement', value: 0.11, low: 0.1, high: 0.12 },
            { name: 'copyRate', value: 0 },
          ],
        },
        best: true,
      },
    ],
    exact: true,
    diagnosis: {
      verdict: 'Overfitting',
      findings: [{ verdict: 'Overfitting', evidence: 'loss rose' }],
      advice: ['less'],
    },
  },
}
const fieldOf: Readonly<Record<string, string>> = {
  prepare: 'preparation',
  fetch: 'fetch',
  train: 'run',
  merge: 'merge',
  upload: 'push',
}

/** The pod completes and tells so. `specHash` is what a preparation was asked for. */
export const completes = ({ command, ownerUid, attempt }: JobPod, specHash = ''): PodEnd => ({
  kind: 'end',
  exitCode: 0,
  result: {
    ownerUid,
    attempt,
    reason: 'Completed',
    [fieldOf[command]!]: { ...results[command], ...(command === 'prepare' && { specHash }) },
  },
})

/** The pod fails with a typed reason of job_result.proto. */
export const fails = ({ ownerUid, attempt }: JobPod, exitCode: number, reason: string, message = 'words'): PodEnd => ({
  kind: 'end',
  exitCode,
  result: { ownerUid, attempt, reason, message },
})

interface Pod extends KubeObject {
  spec: { containers: { command: string[] }[]; volumes?: { secret?: { secretName: string; optional?: boolean } }[] }
  status?: { phase?: string; containerStatuses?: unknown[]; conditions?: unknown[] }
}

const PACE_MS = 100

export class Kubelet implements AsyncDisposable {
  /** Every pod that was ever seen, in order. */
  readonly seen: JobPod[] = []
  /** Most training pods that were alive at once. */
  mostTrainers = 0
  readonly #client: ApiClient
  readonly #namespace: string
  readonly #script: (pod: JobPod) => PodScript
  readonly #pods: Mirror<Pod>
  /** uids of pods that were started; the mirror may not show it yet. */
  readonly #started = new Set<string | undefined>()
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  constructor(client: ApiClient, namespace: string, script: (pod: JobPod) => PodScript = (pod) => completes(pod)) {
    this.#client = client
    this.#namespace = namespace
    this.#script = script
    const labelSelector = 'batch.kubernetes.io/job-name'
    this.#pods = new Mirror(client, { apiVersion: 'v1', kind: 'Pod', plural: 'pods', namespace, labelSelector })
    this.#running = this.#run()
  }

  jobsOf(command: string): string[] {
    return this.seen.filter((pod) => pod.command === command).map(({ job }) => job)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
    await this.#pods.stop()
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#turn().catch(() => undefined) // the test kills API server and operator; the kubelet goes on
      await new Promise((resolve) => setTimeout(resolve, PACE_MS))
    }
  }

  async #turn(): Promise<void> {
    const alive = this.#pods.items.filter(({ status }) => status?.phase === 'Pending' || status?.phase === 'Running')
    const trainers = alive.filter(({ spec }) => spec.containers[0]?.command.at(-1) === 'train')
    this.mostTrainers = Math.max(this.mostTrainers, trainers.length)
    for (const pod of alive)
      if (!this.#started.has(pod.metadata.uid) && !pod.metadata.deletionTimestamp) await this.#start(pod)
  }

  async #start(pod: Pod): Promise<void> {
    if (await this.#lacksSecret(pod)) return
    const labels = pod.metadata.labels ?? {}
    const seen: JobPod = {
      name: pod.metadata.name,
      job: labels['batch.kubernetes.io/job-name'] ?? '',
      command: pod.spec.containers[0]?.command.at(-1) ?? '',
      ownerUid: labels['humanizer.dev/uid'] ?? '',
      attempt: Number(labels['humanizer.dev/attempt']),
    }
    this.seen.push(seen)
    const script = this.#script(seen)
    const startedAt = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
    await this.#patch(seen.name, {
      phase: 'Running',
      podIP: (script.kind === 'run' && script.ip) || '127.0.0.1',
      containerStatuses: [containerStatus({ running: { startedAt } }, script.kind !== 'hang')],
    })
    this.#started.add(pod.metadata.uid)
    if (script.kind === 'end' || script.kind === 'evict') await this.end(seen.name, script)
  }

  /** A pod is not started before its volumes are there; it has waited for long. */
  async #lacksSecret({ metadata: { name }, spec, status }: Pod): Promise<boolean> {
    const wanted = spec.volumes?.flatMap(({ secret }) => (secret && !secret.optional ? [secret.secretName] : [])) ?? []
    if (wanted.length === 0) return false
    const path = `/api/v1/namespaces/${this.#namespace}/secrets`
    const { items } = await this.#client.request<{ items: KubeObject[] }>('GET', path)
    if (wanted.every((each) => items.some(({ metadata }) => metadata.name === each))) return false
    const lastTransitionTime = new Date(Date.now() - 60_000).toISOString()
    const conditions = [
      { type: 'PodScheduled', status: 'True', lastTransitionTime },
      { type: 'PodReadyToStartContainers', status: 'False', lastTransitionTime },
    ]
    if (!status?.conditions?.length) await this.#patch(name, { phase: 'Pending', conditions })
    return true
  }

  /** Ends a running pod as told. */
  end(name: string, script: PodEnd | { readonly kind: 'evict' }): Promise<void> {
    const { exitCode, reason, result } =
      script.kind === 'evict' ? { exitCode: 143, reason: 'Error', result: undefined } : script
    const terminated = {
      exitCode,
      reason: reason ?? (exitCode === 0 ? 'Completed' : 'Error'),
      message: typeof result === 'string' ? result : result ? JSON.stringify(result) : '',
    }
    const disruption = {
      type: 'DisruptionTarget',
      status: 'True',
      reason: 'EvictionByEvictionAPI',
      message: 'Eviction API: evicting',
    }
    return this.#patch(name, {
      phase: exitCode === 0 ? 'Succeeded' : 'Failed',
      ...(script.kind === 'evict' && { conditions: [disruption] }),
      containerStatuses: [containerStatus({ terminated }, false)],
    })
  }

  async #patch(name: string, status: object): Promise<void> {
    await this.#client.request('PATCH', `/api/v1/namespaces/${this.#namespace}/pods/${name}/status`, {
      contentType: 'application/merge-patch+json',
      body: { status },
    })
  }
}

const containerStatus = (state: object, ready: boolean): object => ({
  name: 'humanizer',
  image: 'trainer:test',
  imageID: '',
  restartCount: 0,
  ready,
  state,
})
