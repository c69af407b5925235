/** How right an answer to the near-duplicate search is, by exact Jaccard similarity. */
import { copiedBy, documentOf, jaccard } from './corpus.ts'

export interface Judgement {
  /** Planted pairs above 0.85. */
  readonly pairs: number
  /** Share of those that are in one cluster. */
  readonly recall: number
  /** Documents that are in a cluster with an earlier one. */
  readonly removed: number
  /** Share of those that are more similar than 0.85 to another document of their cluster. */
  readonly precision: number
}

const WANTED = 0.85
/** Of the planted pairs, and of the removed documents, at most so many are looked at: spread evenly over all. */
const SAMPLED = 50_000

/** `clusterOf[i]` is the same number for all documents of a cluster, the ordinal of one of them. */
export function judge(clusterOf: Uint32Array): Judgement {
  let pairs = 0
  let found = 0
  const copies = Math.floor(clusterOf.length / 10)
  const stride = Math.max(1, Math.floor(copies / SAMPLED))
  for (let copy = 9; copy < clusterOf.length; copy += 10 * stride) {
    const original = copiedBy(copy) as number
    if (jaccard(documentOf(original), documentOf(copy)) <= WANTED) continue
    pairs++
    if (clusterOf[original] === clusterOf[copy]) found++
  }
  const members = new Map<number, number[]>()
  const sizes = new Map<number, number>()
  for (const cluster of clusterOf) sizes.set(cluster, (sizes.get(cluster) ?? 0) + 1)
  clusterOf.forEach((cluster, i) => {
    if ((sizes.get(cluster) as number) < 2) return
    const list = members.get(cluster)
    if (list) list.push(i)
    else members.set(cluster, [i])
  })
  const clusters = [...members.values()]
  const removed = clusters.reduce((sum, list) => sum + list.length - 1, 0)
  let looked = 0
  let right = 0
  for (let at = 0; at < clusters.length; at += Math.max(1, Math.floor(clusters.length / SAMPLED))) {
    const texts = (clusters[at] as number[]).map(documentOf)
    for (let i = 1; i < texts.length; i++) {
      looked++
      const similar = texts.some((other, j) => j !== i && jaccard(texts[i] as string, other) > WANTED)
      if (similar) right++
    }
  }
  return { pairs, recall: pairs ? found / pairs : 1, removed, precision: looked ? right / looked : 1 }
}
