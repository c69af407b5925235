import { FIELD_MANAGER } from '../kube/apply.ts'
import type { KubeObject } from '../kube/cluster.ts'

/** FieldsV1: `f:name` is a field, `k:{…}` the item of a list with these keys, `v:…` a value of a set; `{}` is owned as a whole. */
interface Fields {
  readonly [step: string]: Fields
}

interface ManagedFields {
  readonly manager?: string
  readonly operation?: string
  readonly subresource?: string
  readonly fieldsV1?: Fields
}

/**
 * Whether every field of `applied` still belongs to our server-side apply. Whoever changes one by other means takes it from
 * us, so this tells a hand edit without comparing values that the API server fills in, rewrites or rounds.
 */
export function stillOurs(applied: KubeObject, found: KubeObject): boolean {
  const all = (found.metadata as { managedFields?: readonly ManagedFields[] }).managedFields
  if (!all) return true // a reader that leaves them out tells nothing
  const ours = all.find(
    ({ manager, operation, subresource = '' }) =>
      manager === FIELD_MANAGER && operation === 'Apply' && subresource === '',
  )
  if (!ours?.fieldsV1) return false
  const { labels, annotations } = applied.metadata
  const { apiVersion: _, kind: __, metadata: ___, ...content } = applied
  return owns(ours.fieldsV1, { ...content, metadata: { labels, annotations } })
}

function owns(fields: Fields, value: unknown): boolean {
  if (isWhole(fields) || isEmpty(value)) return true
  if (Array.isArray(value)) return value.every((item) => ownsItem(fields, item))
  if (typeof value !== 'object' || value === null) return true
  return Object.entries(value).every(([name, field]) => {
    const owned = fields[`f:${name}`]
    return isEmpty(field) || (owned !== undefined && owns(owned, field))
  })
}

function ownsItem(fields: Fields, item: unknown): boolean {
  for (const [step, owned] of Object.entries(fields)) {
    if (step === `v:${JSON.stringify(item)}`) return true
    if (step.startsWith('k:') && hasKeys(item, JSON.parse(step.slice(2)))) return owns(owned, item)
  }
  return false
}

const isWhole = (fields: Fields): boolean => Object.keys(fields).length === 0

/** The keys of a list may have defaults that the item was applied without. */
function hasKeys(item: unknown, keys: Record<string, unknown>): boolean {
  const fields = item as Record<string, unknown>
  return Object.entries(keys).every(([key, value]) => fields[key] === undefined || fields[key] === value)
}

/** Nothing in it that could be owned. */
function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null) return true
  return typeof value === 'object' && Object.values(value).every(isEmpty)
}
