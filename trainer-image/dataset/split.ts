import { createHash } from 'node:crypto'
import type { Split } from '#proto/humanizer/trainer/v1/preparation.ts'

/**
 * The clusters that validation gets: those whose seeded hash ranks lowest, so the order of the rows does not matter.
 * Rounded to the nearest whole cluster, but at least one on each side whenever there are two and trainPercent is below 100.
 */
export function validationClusters(clusters: Iterable<string>, split: Split): ReadonlySet<string> {
  const ranked = [...new Set(clusters)].map((name) => ({ name, rank: rankOf(split.seed, name) }))
  if (split.trainPercent >= 100 || ranked.length < 2) return new Set()
  const wanted = Math.round((ranked.length * (100 - split.trainPercent)) / 100)
  const size = Math.min(Math.max(wanted, 1), ranked.length - 1)
  ranked.sort((a, b) => (a.rank < b.rank ? -1 : a.rank > b.rank ? 1 : 0))
  return new Set(ranked.slice(0, size).map(({ name }) => name))
}

const rankOf = (seed: number, name: string): string =>
  createHash('sha256').update(`split\0${seed}\0${name}`).digest('hex')
