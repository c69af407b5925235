import type { Logger } from 'pino'
import type { KubeObject } from '../kube/cluster.ts'
import { Gone } from '../kube/errors.ts'
import type { Metrics } from '../kube/metrics.ts'
import type { Line, WatchSource } from '../kube/watch-source.ts'
import { keyOf, type ObjectKey } from './controller.ts'
import { wait } from './wait.ts'

/** The server ends a watch after this many seconds, and sends a bookmark just before: how long silence is normal. */
const ROUND_SECONDS = 25
/** Silence beyond the round after which the connection is taken for dead. */
const GRACE_SECONDS = 10
/** Rounds that failed in a row after which the resourceVersion itself is distrusted (etcd restored from a backup). */
const FAILURES_BEFORE_RELIST = 5
const BACKOFF_MS = { first: 200, longest: 10_000 }

interface WatcherOptions {
  readonly source: WatchSource
  /** For logs and metrics. */
  readonly kind: string
  /** objects: keep them whole, without managedFields. traces: keep their metadata only. */
  readonly keep: 'objects' | 'traces'
  /** Called for every object that appeared, changed or went (`gone`; then possibly metadata only). May only take note: must not throw or wait. */
  readonly onChange: (object: KubeObject, gone: boolean) => void
  readonly log: Logger
  readonly metrics: Metrics
}

/**
 * A list+watch of one collection that never stops: it resumes from the last resourceVersion, lists again only when that
 * is too old, backs off with jitter on errors, and takes a silent connection for a dead one.
 *
 * Invariant: once an object's change is in the API server and reachable, onChange is called for it or for a later state
 * of it. Changes in between may be skipped; the same state is not told twice.
 */
export class Watcher {
  readonly #options: WatcherOptions
  readonly #objects = new Map<ObjectKey, KubeObject>()
  readonly #synced = Promise.withResolvers<void>()
  #resourceVersion: string | undefined
  /** resourceVersion of the newest list. */
  #listed = '0'
  #isSynced = false
  #lastHeard = performance.now()
  #failures = 0

  constructor(options: WatcherOptions) {
    this.#options = options
  }

  /** Resolves after the first full list. */
  get whenSynced(): Promise<void> {
    return this.#synced.promise
  }

  get synced(): boolean {
    return this.#isSynced
  }

  get kind(): string {
    return this.#options.kind
  }

  /** Seconds since the API server last said anything here. */
  get ageSeconds(): number {
    return (performance.now() - this.#lastHeard) / 1000
  }

  get(key: ObjectKey): KubeObject | undefined {
    return this.#objects.get(key)
  }

  values(): IterableIterator<KubeObject> {
    return this.#objects.values()
  }

  /** Takes in the result of an own write before the watch tells it. Counts as a change. */
  note(object: KubeObject): void {
    const known = this.#objects.get(keyOf(object))
    if (known && known.metadata.uid === object.metadata.uid) this.#changed(object)
  }

  /** Runs until the signal; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (this.#resourceVersion === undefined) await this.#relist(this.#options.source)
        await this.#round(signal)
        this.#failures = 0
      } catch (error) {
        if (signal.aborted) return
        await this.#recover(error, signal)
      }
    }
  }

  async #recover(error: unknown, signal: AbortSignal): Promise<void> {
    const { log, kind, metrics } = this.#options
    metrics.watchErrors.inc({ kind })
    this.#failures++
    if (error instanceof Gone || this.#failures % FAILURES_BEFORE_RELIST === 0) this.#resourceVersion = undefined
    if (error instanceof Gone && this.#failures === 1) {
      log.info({ kind }, 'watch is too old, listing again')
      return
    }
    const delayMs =
      Math.min(BACKOFF_MS.first * 2 ** (this.#failures - 1), BACKOFF_MS.longest) * (0.5 + Math.random() / 2)
    log.warn({ kind, error: String(error), delayMs: Math.round(delayMs) }, 'watch failed, will go on')
    await wait(delayMs, signal)
  }

  async #relist(source: WatchSource): Promise<void> {
    this.#options.metrics.relists.inc({ kind: this.#options.kind })
    const present = new Set<ObjectKey>()
    let next: string | undefined
    let version: string
    do {
      const page = await source.list(next)
      version = page.resourceVersion
      const restored = BigInt(version) < BigInt(this.#listed) // from a backup: what we know is not older but void
      for (const object of page.items) {
        present.add(keyOf(object))
        this.#changed(object, restored)
      }
      next = page.next
    } while (next)
    for (const [key, object] of this.#objects) if (!present.has(key)) this.#gone(object)
    this.#resourceVersion = version
    this.#listed = version
    this.#heard()
    this.#isSynced = true
    this.#synced.resolve()
  }

  /** One watch request, from the last resourceVersion until it ends. */
  async #round(signal: AbortSignal): Promise<void> {
    const seconds = ROUND_SECONDS - 2 + Math.round(Math.random() * 4)
    const round = new AbortController()
    const stop = () => round.abort()
    signal.addEventListener('abort', stop, { once: true })
    let failure: Error | undefined
    const fail = (error: Error) => {
      failure ??= error
      stop()
    }
    const watchdog = setTimeout(
      () => fail(new Error(`no end after ${seconds + GRACE_SECONDS} s`)),
      (seconds + GRACE_SECONDS) * 1000,
    )
    const started = performance.now()
    try {
      await this.#options.source.watch(
        this.#resourceVersion!,
        seconds,
        (line) => {
          if (line.type === 'ERROR') fail(line.error)
          else if (!failure) this.#take(line)
        },
        round.signal,
      )
    } finally {
      clearTimeout(watchdog)
      signal.removeEventListener('abort', stop)
    }
    if (failure) throw failure
    // A server or proxy that hangs up at once must not be asked a thousand times a second.
    if (performance.now() - started < 1000 && this.#lastHeard < started) throw new Error('ended at once')
    this.#heard()
  }

  #take({ type, object }: Exclude<Line, { type: 'ERROR' }>): void {
    this.#heard()
    this.#failures = 0
    if (type === 'DELETED') this.#gone(object)
    else if (type !== 'BOOKMARK') this.#changed(object)
    this.#resourceVersion = object.metadata.resourceVersion
  }

  #changed(object: KubeObject, evenIfOlder = false): void {
    const key = keyOf(object)
    const known = this.#objects.get(key)
    const sameObject = known && known.metadata.uid === object.metadata.uid
    if (sameObject && !newer(object, known) && !(evenIfOlder && newer(known, object))) return
    this.#objects.set(key, this.#options.keep === 'objects' ? withoutManagedFields(object) : traceOf(object))
    this.#options.onChange(object, false)
  }

  #gone(object: KubeObject): void {
    const key = keyOf(object)
    if (this.#objects.get(key)?.metadata.uid !== object.metadata.uid) return
    this.#objects.delete(key)
    this.#options.onChange(object, true)
  }

  #heard(): void {
    this.#lastHeard = performance.now()
  }
}

/** Kubernetes promises since 1.35 that resourceVersions of one kind compare as integers; before, all servers did so. */
const newer = (a: KubeObject, b: KubeObject): boolean =>
  BigInt(a.metadata.resourceVersion ?? 0) > BigInt(b.metadata.resourceVersion ?? 0)

function withoutManagedFields(object: KubeObject): KubeObject {
  const { managedFields: _, ...metadata } = object.metadata as KubeObject['metadata'] & { managedFields?: unknown }
  return { ...object, metadata }
}

function traceOf({ apiVersion, kind, metadata }: KubeObject): KubeObject {
  const { name, namespace, uid, resourceVersion, labels } = metadata
  const trace: KubeObject['metadata'] = { name }
  return { apiVersion, kind, metadata: Object.assign(trace, { namespace, uid, resourceVersion, labels }) }
}
