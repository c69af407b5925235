import type { ApiClient } from './client.ts'
import type { KubeObject } from './cluster.ts'
import { pathOf, pluralOf } from './path.ts'

/** Owner of every field that we apply. One name for ever: another would leave the old one's fields behind. */
export const FIELD_MANAGER = 'humanizer'

/** Server-side apply, forced: fields that we set are ours; those we stop setting go away. */
export function apply<T extends KubeObject>(client: ApiClient, object: T): Promise<T> {
  const { apiVersion, kind, metadata } = object
  return client.request('PATCH', pathOf(apiVersion, pluralOf(kind), metadata.namespace, metadata.name), {
    query: { fieldManager: FIELD_MANAGER, force: true },
    contentType: 'application/apply-patch+yaml', // JSON is YAML
    body: object,
  })
}
