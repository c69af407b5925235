import { hash } from 'node:crypto'
import type { Split } from '#proto/humanizer/trainer/v1/preparation.ts'

/**
 * Tells of a cluster whether validation gets it: those whose seeded hash ranks lowest, so the order of the rows does not matter. Rounded
 * to the nearest whole cluster, but at least one on each side whenever there are two and trainPercent is below 100.
 */
export function validationOf(clusters: Iterable<string>, split: Split): (cluster: string) => boolean {
  const ranks = BigUint64Array.from(new Set(clusters), (name) => rankOf(split.seed, name)).sort()
  if (split.trainPercent >= 100 || ranks.length < 2) return () => false
  const wanted = Math.round((ranks.length * (100 - split.trainPercent)) / 100)
  const size = Math.min(Math.max(wanted, 1), ranks.length - 1)
  const last = ranks[size - 1] as bigint
  return (cluster) => rankOf(split.seed, cluster) <= last
}

const rankOf = (seed: number, name: string): bigint =>
  hash('sha256', `split\0${seed}\0${name}`, 'buffer').readBigUInt64BE()
