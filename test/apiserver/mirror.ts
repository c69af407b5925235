import { Watcher } from '../../operator/controller/watch.ts'
import type { ApiClient } from '../../operator/kube/client.ts'
import type { KubeObject } from '../../operator/kube/cluster.ts'
import { createMetrics } from '../../operator/kube/metrics.ts'
import { type Collection, watchSource } from '../../operator/kube/watch-source.ts'
import { silent } from './widget.ts'

/** The objects of one collection as they are now, for what looks at them ten times a second: a watch costs the API server less than lists. */
export class Mirror<T extends KubeObject> {
  readonly #watcher: Watcher
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  constructor(client: ApiClient, collection: Collection) {
    this.#watcher = new Watcher({
      source: watchSource(client, collection),
      kind: collection.kind,
      keep: 'objects',
      onChange: () => undefined,
      log: silent,
      metrics: createMetrics(),
    })
    this.#running = this.#watcher.run(this.#stop.signal)
  }

  /** Empty until the first list is there. */
  get items(): T[] {
    return [...this.#watcher.values()] as T[]
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }
}
