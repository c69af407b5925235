/** Lower-case plural of a kind, by the rule that all kinds we touch follow (Job jobs, NetworkPolicy networkpolicies, Lease leases). */
export function pluralOf(kind: string): string {
  const lower = kind.toLowerCase()
  if (lower.endsWith('y')) return `${lower.slice(0, -1)}ies`
  return lower.endsWith('s') ? `${lower}es` : `${lower}s`
}

/** URL path of a collection, of one object, or of its subresource. Without a namespace: all namespaces, or cluster-scoped. */
export function pathOf(
  apiVersion: string,
  plural: string,
  namespace?: string,
  name?: string,
  subresource?: string,
): string {
  const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const parts = [group]
  if (namespace) parts.push('namespaces', namespace)
  parts.push(plural)
  if (name) parts.push(encodeURIComponent(name)) // a name out of a spec leads nowhere else
  if (subresource) parts.push(subresource)
  return parts.join('/')
}
