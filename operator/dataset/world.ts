/** For tests: a small world that a dataset lives in, with a pod that does what a script says, and a way to die at any effect. */
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import { digestOf, dataset as sample } from '../run/world.ts'
import type { AttemptState } from '../workload/attempt-state.ts'
import type { Decision, Observed, Status } from './decide.ts'
import { specHash } from './prepare-config.ts'
import { type DatasetEffects, reconcileDataset } from './reconcile.ts'

export const start = new Date('2026-01-01T00:00:00Z')
const { status: _, ...fresh } = sample()
export const base: HumanizerDataset = {
  ...fresh,
  metadata: { ...fresh.metadata, uid: 'dataset-uid', resourceVersion: '1' },
}
export const claim = { name: 'humanizer', accessModes: ['ReadWriteMany'] }

export const absent: AttemptState = { kind: 'absent' }
export const failed = (reason: string, message = 'words'): AttemptState => ({
  kind: 'ended',
  ending: { kind: 'failed', reason, message },
})
export const prepared = (specHash: string): AttemptState => ({
  kind: 'ended',
  ending: {
    kind: 'completed',
    result: {
      ownerUid: 'dataset-uid',
      attempt: 1,
      reason: 'Completed',
      message: '',
      fetch: undefined,
      run: undefined,
      preparation: {
        digest: digestOf('d'),
        location: 'datasets/d',
        specHash,
        counts: undefined,
        sources: [],
        summary: '',
      },
    },
  },
})
export const observed = (attempt: AttemptState, fields: Partial<Observed> = {}): Observed => ({
  claim,
  missing: undefined,
  attempt,
  remains: { jobs: [], pods: [] },
  ...fields,
})

/** What becomes of the pod of each attempt. */
type Script = (dataset: HumanizerDataset, attempt: number) => AttemptState

export class World implements DatasetEffects {
  object = base
  now = start
  /** Attempts whose Job was made, in order. */
  readonly made: number[] = []
  readonly said: string[] = []
  readonly #script: Script
  readonly #jobs = new Map<number, AttemptState>()
  #dieAt: number
  #version = 1

  constructor(script: Script, dieAt = Number.POSITIVE_INFINITY) {
    this.#script = script
    this.#dieAt = dieAt
  }

  /** What stands in the condition Ready, as "status reason: message". */
  get ready(): string {
    const { status, reason, message } = this.object.status?.conditions?.find(({ type }) => type === 'Ready') ?? {}
    return `${status} ${reason}: ${message}`
  }

  change(spec: Partial<HumanizerDataset['spec']>): void {
    const { metadata } = this.object
    const generation = (metadata.generation ?? 0) + 1
    this.object = { ...this.object, metadata: { ...metadata, generation }, spec: { ...this.object.spec, ...spec } }
  }

  async observe({ status }: HumanizerDataset): Promise<Observed> {
    const last = status?.attempts?.at(-1)
    const kept = last && (!last.finishTime || last.reason === 'Completed') ? last.number : undefined
    const others = [...this.#jobs.keys()].filter((number) => number !== kept).map(String)
    return observed(this.#jobs.get(last?.number ?? 0) ?? absent, {
      remains: { jobs: others.map((name) => ({ name, uid: name })), pods: others },
    })
  }

  async record(dataset: HumanizerDataset, status: Status): Promise<HumanizerDataset> {
    if (JSON.stringify(dataset.status) === JSON.stringify(status)) return dataset
    this.#maybeDie()
    const metadata = { ...dataset.metadata, resourceVersion: String(++this.#version) }
    this.object = { ...dataset, status, metadata }
    if (this.said.at(-1) !== this.ready) this.said.push(this.ready)
    this.#maybeDie()
    return this.object
  }

  async act(_: HumanizerDataset, decision: Decision): Promise<undefined> {
    if (decision.kind === 'clear') for (const { name } of decision.remains.jobs) this.#jobs.delete(Number(name))
    if (decision.kind !== 'prepare') return
    this.#maybeDie()
    if (!this.#jobs.has(decision.attempt)) this.made.push(decision.attempt)
    this.#jobs.set(decision.attempt, this.#script(this.object, decision.attempt))
    this.#maybeDie()
  }

  /** Reconciles once a second; dying and coming back is part of it. */
  async settle(seconds = 20): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      this.now = new Date(this.now.getTime() + 1000)
      await reconcileDataset(this.object, this, this.now).catch((error: Error) => {
        if (error.message !== 'died') throw error
      })
    }
  }

  #maybeDie(): void {
    if (this.#dieAt-- === 0) throw new Error('died')
  }
}

/** Completes with what was asked for. */
export const completes: Script = (dataset) => prepared(specHash(dataset.spec))
