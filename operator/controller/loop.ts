import type { Logger } from 'pino'
import type { KubeObject } from '../kube/cluster.ts'
import { type Condition, findCondition } from '../kube/conditions.ts'
import { Conflict, NotLeading } from '../kube/errors.ts'
import type { Metrics } from '../kube/metrics.ts'
import type { Collection, WatchSource } from '../kube/watch-source.ts'
import { type Controller, keyOf, type ObjectKey } from './controller.ts'
import { Watcher } from './watch.ts'
import { WorkQueue } from './work-queue.ts'

export interface LoopOptions {
  readonly sourceOf: (collection: Collection) => WatchSource
  /** Empty: all namespaces. */
  readonly namespaces: readonly string[]
  readonly workers: number
  readonly reconcileTimeoutSeconds: number
  readonly log: Logger
  readonly metrics: Metrics
}

/**
 * One controller at work: watches -> queue -> reconcile -> queue. Watches run from start() on, leading or not, so that a
 * follower takes over with warm caches; workers run between lead() and follow().
 */
export class Loop<T extends KubeObject> {
  readonly #controller: Controller<T>
  readonly #options: LoopOptions
  readonly #log: Logger
  readonly #owners: Watcher[] = []
  readonly #watchers: Watcher[] = []
  /** Reconciles under way, of this leadership and of those before. */
  readonly #underWay = new Map<ObjectKey, Promise<void>>()
  #queue: WorkQueue<ObjectKey> | undefined

  constructor(controller: Controller<T>, options: LoopOptions) {
    this.#controller = controller
    this.#options = options
    this.#log = options.log.child({ controller: controller.name })
    for (const namespace of options.namespaces.length > 0 ? options.namespaces : [undefined]) this.#watch(namespace)
  }

  get name(): string {
    return this.#controller.name
  }

  get kind(): string {
    return this.#controller.kind.kind
  }

  get watchers(): readonly Watcher[] {
    return this.#watchers
  }

  get queueDepth(): number {
    return this.#queue?.depth ?? 0
  }

  /** Starts the watches; they end with the signal. */
  start(signal: AbortSignal): void {
    for (const watcher of this.#watchers) void watcher.run(signal)
  }

  /** Every object is looked at once, as soon as all caches are warm; then whenever something changes. */
  lead(): void {
    const queue = new WorkQueue<ObjectKey>()
    this.#queue = queue
    Promise.all(this.#watchers.map((watcher) => watcher.whenSynced)).then(() => {
      if (this.#queue !== queue) return
      for (const owner of this.#allOwners()) queue.add(keyOf(owner))
      for (let worker = 0; worker < this.#options.workers; worker++) void this.#work(queue)
    })
  }

  /** No new reconcile starts. Resolves when those under way have ended. */
  async follow(): Promise<void> {
    this.#queue?.close()
    this.#queue = undefined
    await Promise.all(this.#underWay.values())
  }

  /** The newest state of an object that was written by us. */
  note(object: KubeObject): void {
    if (object.kind !== this.#controller.kind.kind) return
    for (const watcher of this.#owners) watcher.note(object)
  }

  /** Objects by their state in kstatus' terms; unknown: never reconciled. */
  states(): Record<'ready' | 'reconciling' | 'stalled' | 'unknown', number> {
    const counts = { ready: 0, reconciling: 0, stalled: 0, unknown: 0 }
    for (const owner of this.#allOwners()) counts[stateOf(owner)]++
    return counts
  }

  #watch(namespace: string | undefined): void {
    const { kind, children, related = [] } = this.#controller
    const owners = this.#watcher({ ...kind, namespace }, 'objects', (object, gone) => {
      const key = keyOf(object)
      if (!gone) return this.#queue?.add(key)
      this.#queue?.forget(key)
      this.#controller.forget?.(key)
    })
    this.#owners.push(owners)
    for (const child of children) {
      const labelSelector = `app.kubernetes.io/managed-by=humanizer,${child.ownerLabel}`
      this.#watcher({ ...child, namespace, labelSelector }, 'traces', ({ metadata }) => {
        const owner = metadata.labels?.[child.ownerLabel]
        if (owner) this.#queue?.add(`${metadata.namespace ?? ''}/${owner}`)
      })
    }
    for (const kindOfInterest of related)
      this.#watcher({ ...kindOfInterest, namespace }, 'traces', (object) => {
        for (const owner of owners.values() as Iterable<T>)
          if (owner.metadata.namespace === object.metadata.namespace && kindOfInterest.concerns(owner, object))
            this.#queue?.add(keyOf(owner))
      })
  }

  #watcher(
    collection: Collection,
    keep: 'objects' | 'traces',
    onChange: (object: KubeObject, gone: boolean) => void,
  ): Watcher {
    const { sourceOf, metrics } = this.#options
    const { kind } = collection
    const watcher = new Watcher({ source: sourceOf(collection), kind, keep, onChange, log: this.#log, metrics })
    this.#watchers.push(watcher)
    return watcher
  }

  *#allOwners(): Generator<T> {
    for (const watcher of this.#owners) yield* watcher.values() as Iterable<T>
  }

  #ownerOf(key: ObjectKey): T | undefined {
    for (const watcher of this.#owners) {
      const owner = watcher.get(key)
      if (owner) return owner as T
    }
    return undefined
  }

  async #work(queue: WorkQueue<ObjectKey>): Promise<void> {
    for (let key = await queue.next(); key !== undefined; key = await queue.next()) {
      const reconciling = this.#reconcile(queue, key)
      this.#underWay.set(key, reconciling)
      const ended = reconciling.finally(() => {
        if (this.#underWay.get(key) === reconciling) this.#underWay.delete(key)
        queue.done(key)
      })
      await this.#withinTimeout(key, ended)
    }
  }

  /**
   * A reconcile that overstays gives its worker free but keeps its key: two at once on one object is worse than one that
   * hangs. All its effects have deadlines of their own, so it ends.
   */
  async #withinTimeout(key: ObjectKey, ended: Promise<void>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      this.#log.error({ key, seconds: this.#options.reconcileTimeoutSeconds }, 'reconcile overstays')
      this.#options.metrics.reconciles.inc({ controller: this.#controller.name, result: 'timeout' })
      resolve()
    }, this.#options.reconcileTimeoutSeconds * 1000)
    await Promise.race([ended, promise])
    clearTimeout(timer)
  }

  async #reconcile(queue: WorkQueue<ObjectKey>, key: ObjectKey): Promise<void> {
    await this.#underWay.get(key) // of an earlier leadership
    const object = this.#ownerOf(key)
    if (!object || object.metadata.deletionTimestamp) return
    const { metrics } = this.#options
    const controller = this.#controller.name
    const time = metrics.reconcileSeconds.startTimer({ controller })
    try {
      const outcome = await this.#controller.reconcile(object, new Date())
      queue.succeeded(key)
      if (outcome.kind === 'waiting') queue.addAfter(key, outcome.seconds)
      metrics.reconciles.inc({ controller, result: outcome.kind })
    } catch (error) {
      const retrySeconds = queue.retry(key) // of a closed queue: nothing
      // A renewal that comes late but in time for the lease brings the lead back without a change of leader, and so without lead().
      if (error instanceof NotLeading) return
      const result = error instanceof Conflict ? 'conflict' : 'error'
      metrics.reconciles.inc({ controller, result })
      if (result === 'conflict') this.#log.debug({ key, retrySeconds }, 'object changed meanwhile')
      else this.#log.error({ key, err: error, retrySeconds }, 'reconcile failed')
    } finally {
      time()
    }
  }
}

function stateOf(object: KubeObject): 'ready' | 'reconciling' | 'stalled' | 'unknown' {
  const conditions = (object.status as { conditions?: Condition[] } | undefined)?.conditions
  if (findCondition(conditions, 'Stalled')?.status === 'True') return 'stalled'
  if (findCondition(conditions, 'Ready')?.status === 'True') return 'ready'
  return conditions?.length ? 'reconciling' : 'unknown'
}
