import { isDeepStrictEqual } from 'node:util'
import { FIELD_MANAGER } from './apply.ts'
import type { ApiClient } from './client.ts'
import type { KubeObject } from './cluster.ts'
import { pathOf, pluralOf } from './path.ts'

/** Whether writing this status would change anything. Compares as JSON: undefined fields do not count, nor does order of keys. */
export const sameStatus = (before: unknown, after: unknown): boolean =>
  isDeepStrictEqual(before ?? {}, JSON.parse(JSON.stringify(after ?? {})))

/** Replaces the status subresource; Conflict when the object's resourceVersion is not the newest. */
export function replaceStatus<T extends KubeObject>(client: ApiClient, object: T, status: unknown): Promise<T> {
  const { apiVersion, kind, metadata } = object
  return client.request('PUT', pathOf(apiVersion, pluralOf(kind), metadata.namespace, metadata.name, 'status'), {
    query: { fieldManager: FIELD_MANAGER },
    body: { ...object, status },
  })
}
