import { beginning } from './characters.ts'
import type { Deduplicated } from './duplicates.ts'
import type { Spool } from './spool.ts'

/** A cluster of duplicates as the report shows it. */
export interface ShownCluster {
  /** Of the text that was kept. */
  readonly id: string
  readonly text: string
  /** Texts of the cluster, the kept one and all copies included. */
  readonly size: number
  /** How many of them are near copies; the others read the same. */
  readonly nearCopies: number
  /** The first of the near copies. */
  readonly near: readonly { readonly id: string; readonly text: string }[]
}

const NEAR_SHOWN = 3
/** Code points of one text that are shown. */
const SHOWN = 1500

/** The largest clusters with the texts in them. Exact copies are counted in `size`; they would read the same. */
export async function clustersToShow(
  { largest, leader }: Pick<Deduplicated, 'largest' | 'leader'>,
  spool: Spool,
): Promise<readonly ShownCluster[]> {
  const near = new Map(largest.map(({ ordinal }) => [ordinal, { count: 0, first: [] as number[] }]))
  for (let ordinal = 0; ordinal < leader.length; ordinal++) {
    const copies = near.get(leader[ordinal] as number)
    if (copies === undefined || leader[ordinal] === ordinal) continue
    copies.count++
    if (copies.first.length < NEAR_SHOWN) copies.first.push(ordinal)
  }
  const texts = await spool.pick([...near.keys(), ...[...near.values()].flatMap(({ first }) => first)])
  const shown = (ordinal: number) => {
    const { id = '', text = '' } = texts.get(ordinal) ?? {}
    return { id, text: beginning(text, SHOWN) }
  }
  return largest.map(({ ordinal, size }) => ({
    ...shown(ordinal),
    size,
    nearCopies: near.get(ordinal)?.count ?? 0,
    near: (near.get(ordinal)?.first ?? []).map(shown),
  }))
}
