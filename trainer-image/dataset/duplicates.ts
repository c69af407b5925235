/** What the near-duplicate search left of the spool, by ordinal. */
export interface Deduplicated {
  readonly kept: readonly boolean[]
  /** Ordinal of the text that was kept in its place; its own when it was kept. */
  readonly leader: readonly number[]
  /** Ordinal of the first text of the cluster. Texts of one cluster never stand on both sides of the split. */
  readonly cluster: readonly number[]
  /** Of the largest clusters, largest first: the ordinal that was kept and how many texts the cluster had, copies included. */
  readonly largest: readonly { readonly ordinal: number; readonly size: number }[]
}

/**
 * Keeps the first of each cluster of near duplicates; `firstOfCluster` is absent when they were not looked for. Clusters with texts of
 * the same group (`groupOf`: its first text) become one.
 */
export function dropNearDuplicates(
  sameAs: readonly number[],
  groupOf: readonly number[],
  copies: readonly number[],
  firstOfCluster: Uint32Array | undefined,
  largestWanted = 10,
): Deduplicated {
  const first = (ordinal: number): number => firstOfCluster?.[ordinal] ?? ordinal
  const kept = sameAs.map((_, ordinal) => first(ordinal) === ordinal)
  const leader = sameAs.map((same) => first(same))
  const cluster = joined(leader, groupOf)
  const sizes = new Map<number, number>()
  for (const [ordinal, kept] of leader.entries()) sizes.set(kept, (sizes.get(kept) ?? 0) + 1 + (copies[ordinal] ?? 0))
  const largest = [...sizes]
    .filter(([, size]) => size > 1)
    .sort(([a, sizeOfA], [b, sizeOfB]) => sizeOfB - sizeOfA || a - b)
    .slice(0, largestWanted)
    .map(([ordinal, size]) => ({ ordinal, size }))
  return { kept, leader, cluster, largest }
}

/** The first ordinal of what is connected by either relation; both name the first of theirs. */
function joined(leader: readonly number[], groupOf: readonly number[]): number[] {
  const parent = leader.map((_, ordinal) => ordinal)
  const rootOf = (ordinal: number): number => {
    let at = ordinal
    while (parent[at] !== at) at = parent[at] = parent[parent[at] as number] as number
    return at
  }
  for (const relation of [leader, groupOf])
    for (const [ordinal, first] of relation.entries()) {
      const [a, b] = [rootOf(ordinal), rootOf(first)]
      parent[Math.max(a, b)] = Math.min(a, b)
    }
  return parent.map((_, ordinal) => rootOf(ordinal))
}
