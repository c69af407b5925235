/** What the near-duplicate search left of the spool, by ordinal. */
export interface Deduplicated {
  readonly kept: readonly boolean[]
  /** Ordinal of the first text of the cluster. Texts of one cluster never stand on both sides of the split. */
  readonly cluster: readonly number[]
  /** Of the largest clusters, largest first: the ordinal that was kept and how many texts the cluster had, copies included. */
  readonly largest: readonly { readonly ordinal: number; readonly size: number }[]
}

/** Keeps the first of each cluster. `firstOfCluster` is absent when near duplicates were not looked for. */
export function dropNearDuplicates(
  sameAs: readonly number[],
  copies: readonly number[],
  firstOfCluster: Uint32Array | undefined,
  largestWanted = 10,
): Deduplicated {
  const first = (ordinal: number): number => firstOfCluster?.[ordinal] ?? ordinal
  const kept = sameAs.map((_, ordinal) => first(ordinal) === ordinal)
  const cluster = sameAs.map((same) => first(same))
  const sizes = new Map<number, number>()
  for (const [ordinal, leader] of cluster.entries())
    sizes.set(leader, (sizes.get(leader) ?? 0) + 1 + (copies[ordinal] ?? 0))
  const largest = [...sizes]
    .filter(([, size]) => size > 1)
    .sort(([a, sizeOfA], [b, sizeOfB]) => sizeOfB - sizeOfA || a - b)
    .slice(0, largestWanted)
    .map(([ordinal, size]) => ({ ordinal, size }))
  return { kept, cluster, largest }
}
