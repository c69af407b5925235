import type { ApiClient } from './client.ts'
import type { KubeObject } from './cluster.ts'
import { errorFrom } from './errors.ts'
import { pathOf } from './path.ts'

/** One collection, to be listed and watched. Errors are those of errors.ts. */
export interface WatchSource {
  /** One page; pass `next` of the page before. A `next` that is too old throws Gone. */
  list(next: string | undefined): Promise<{ items: KubeObject[]; resourceVersion: string; next: string | undefined }>
  /** Resolves when the server or the signal ends it. An ERROR line carries the typed error. onLine must not throw. */
  watch(
    resourceVersion: string,
    timeoutSeconds: number,
    onLine: (line: Line) => void,
    signal: AbortSignal,
  ): Promise<void>
}

/** A bookmark's object has a resourceVersion and no name. */
export type Line =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; readonly object: KubeObject }
  | { readonly type: 'ERROR'; readonly error: Error }

const PAGE = 500

export interface Collection {
  readonly apiVersion: string
  readonly kind: string
  readonly plural: string
  /** Absent: all namespaces. */
  readonly namespace?: string | undefined
  readonly labelSelector?: string | undefined
}

export function watchSource(client: ApiClient, collection: Collection): WatchSource {
  const { apiVersion, kind, plural, namespace, labelSelector } = collection
  const path = pathOf(apiVersion, plural, namespace)
  return {
    async list(next) {
      const page = await client.request<{
        metadata: { resourceVersion: string; continue?: string }
        items: KubeObject[]
      }>('GET', path, { query: { labelSelector, limit: PAGE, continue: next } })
      return {
        items: page.items.map((item) => ({ ...item, apiVersion, kind })), // items of built-in kinds come without
        resourceVersion: page.metadata.resourceVersion,
        next: page.metadata.continue || undefined,
      }
    },
    watch(resourceVersion, timeoutSeconds, onLine, signal) {
      const query = { resourceVersion, timeoutSeconds, labelSelector, allowWatchBookmarks: true }
      return client.watch(
        path,
        query,
        ({ type, object }) => {
          if (type !== 'ERROR') return onLine({ type, object: object as KubeObject })
          const { code = 500 } = object as { code?: number }
          onLine({ type, error: errorFrom(code, JSON.stringify(object), `WATCH ${path}`) })
        },
        signal,
      )
    },
  }
}
