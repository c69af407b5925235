import type { Logger } from 'pino'
import { apply, FIELD_MANAGER } from './apply.ts'
import type { ApiClient } from './client.ts'
import type { Cluster, KubeObject, ObjectRef } from './cluster.ts'
import { AlreadyExists, Conflict, NotFound, NotLeading } from './errors.ts'
import { eventOf, type KubeEvent } from './events.ts'
import { pathOf, pluralOf } from './path.ts'
import { replaceStatus, sameStatus } from './status.ts'

const PAGE = 500

interface KubeClusterOptions {
  readonly client: ApiClient
  readonly log: Logger
  /** Name of this replica, for Events. */
  readonly podName: string
  /** Asked right before every mutating call; false throws NotLeading. */
  readonly leading: () => boolean
  /** Called right after every mutating call, whatever became of it. */
  readonly afterMutation: () => void
  /** The newest state of an object that we wrote, before the watch tells it: the next reconcile must not see an older one. */
  readonly written: (object: KubeObject) => void
}

/** The Cluster that is a Kubernetes API server. */
export class KubeCluster implements Cluster {
  readonly #options: KubeClusterOptions
  readonly #client: ApiClient

  constructor(options: KubeClusterOptions) {
    this.#options = options
    this.#client = options.client
  }

  async get<T extends KubeObject>(ref: ObjectRef): Promise<T | undefined> {
    try {
      return await this.#client.request<T>('GET', refPath(ref))
    } catch (error) {
      if (error instanceof NotFound) return undefined
      throw error
    }
  }

  async list<T extends KubeObject>(
    { apiVersion, kind }: { readonly apiVersion: string; readonly kind: string },
    namespace: string,
    labelSelector: string,
  ): Promise<T[]> {
    const items: T[] = []
    let next: string | undefined
    do {
      const page = await this.#client.request<{ metadata: { continue?: string }; items: T[] }>(
        'GET',
        pathOf(apiVersion, pluralOf(kind), namespace),
        { query: { labelSelector, limit: PAGE, continue: next } },
      )
      for (const item of page.items) items.push({ ...item, apiVersion, kind }) // items of built-in kinds come without
      next = page.metadata.continue || undefined
    } while (next)
    return items
  }

  async create(object: KubeObject): Promise<'created' | 'exists'> {
    const path = pathOf(object.apiVersion, pluralOf(object.kind), object.metadata.namespace)
    try {
      await this.#mutate(() =>
        this.#client.request('POST', path, { query: { fieldManager: FIELD_MANAGER }, body: object }),
      )
      return 'created'
    } catch (error) {
      if (error instanceof AlreadyExists) return 'exists'
      throw error
    }
  }

  apply<T extends KubeObject>(object: T): Promise<T> {
    return this.#mutate(() => apply(this.#client, object))
  }

  async delete(
    ref: ObjectRef,
    { uid, propagationPolicy }: { readonly uid: string; readonly propagationPolicy: 'Foreground' | 'Background' },
  ): Promise<void> {
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy, preconditions: { uid } }
    try {
      await this.#mutate(() => this.#client.request('DELETE', refPath(ref), { body }))
    } catch (error) {
      if (!(error instanceof NotFound || error instanceof Conflict)) throw error
    }
  }

  async writeStatus<T extends KubeObject>(object: T, status: unknown): Promise<T> {
    if (sameStatus(object.status, status)) return object
    const written = await this.#mutate(() => replaceStatus(this.#client, object, status))
    this.#options.written(written)
    return written
  }

  async event(object: KubeObject, type: 'Normal' | 'Warning', reason: string, message: string): Promise<void> {
    const event = eventOf(object, type, reason, message, this.#options.podName, new Date())
    try {
      if ((await this.create(event)) === 'exists') await this.#sayAgain(event)
    } catch (error) {
      this.#options.log.warn({ err: error, reason, message }, 'event not recorded')
    }
  }

  async #sayAgain({ metadata: { namespace, name }, message, lastTimestamp }: KubeEvent): Promise<void> {
    const path = pathOf('v1', 'events', namespace, name)
    const known = await this.#client.request<KubeEvent>('GET', path)
    const body = { message, lastTimestamp, count: known.count + 1 }
    await this.#mutate(() => this.#client.request('PATCH', path, { contentType: 'application/merge-patch+json', body }))
  }

  async #mutate<T>(send: () => Promise<T>): Promise<T> {
    if (!this.#options.leading()) throw new NotLeading('this replica does not lead; nothing was sent')
    try {
      return await send()
    } finally {
      this.#options.afterMutation()
    }
  }
}

const refPath = ({ apiVersion, kind, namespace, name }: ObjectRef): string =>
  pathOf(apiVersion, pluralOf(kind), namespace, name)
