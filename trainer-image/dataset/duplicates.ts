/** What the near-duplicate search left of the spool, by ordinal. */
export interface Deduplicated {
  /** 1 for those that were kept, else 0. */
  readonly kept: Uint8Array
  /** Ordinal of the text that was kept in its place; its own when it was kept. */
  readonly leader: Uint32Array
  /** Ordinal of the first text of the cluster. Texts of one cluster never stand on both sides of the split. */
  readonly cluster: Uint32Array
  /** Of the largest clusters, largest first: the ordinal that was kept and how many texts the cluster had, copies included. */
  readonly largest: readonly { readonly ordinal: number; readonly size: number }[]
}

/**
 * Keeps the first of each cluster of near duplicates; `firstOfCluster` is absent when they were not looked for. Clusters with texts of
 * the same group (`groupOf`: its first text) become one.
 */
export function dropNearDuplicates(
  sameAs: Uint32Array,
  groupOf: Uint32Array,
  copies: Uint32Array,
  firstOfCluster: Uint32Array | undefined,
  largestWanted = 10,
): Deduplicated {
  const first = firstOfCluster ?? Uint32Array.from(sameAs.keys())
  const leader = sameAs.map((same) => first[same] as number)
  const kept = Uint8Array.from(first, (of, ordinal) => (of === ordinal ? 1 : 0))
  const sizes = new Uint32Array(leader.length)
  for (const [ordinal, of] of leader.entries()) sizes[of]! += 1 + (copies[ordinal] as number)
  const largest: { ordinal: number; size: number }[] = []
  for (const [ordinal, size] of sizes.entries()) {
    if (size < 2 || (largest.length === largestWanted && size <= (largest.at(-1)?.size ?? 0))) continue
    largest.push({ ordinal, size })
    largest.sort((a, b) => b.size - a.size || a.ordinal - b.ordinal)
    largest.length = Math.min(largest.length, largestWanted)
  }
  return { kept, leader, cluster: joined(leader, groupOf), largest }
}

/** The first ordinal of what is connected by either relation; both name the first of theirs. */
function joined(leader: Uint32Array, groupOf: Uint32Array): Uint32Array {
  const parent = Uint32Array.from(leader.keys())
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
