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
/** Of them, so many at most come before the first difference: two long texts that part late would read the same. */
const BEFORE_DIFFERENCE = 1200
const CONTEXT = 200

/** The largest clusters with the texts in them. Exact copies are counted in `size`; they would read the same. */
export async function clustersToShow(
  { largest, leader }: Pick<Deduplicated, 'largest' | 'leader'>,
  spool: Pick<Spool, 'pick'>,
): Promise<readonly ShownCluster[]> {
  const near = new Map(largest.map(({ ordinal }) => [ordinal, { count: 0, first: [] as number[] }]))
  for (let ordinal = 0; ordinal < leader.length; ordinal++) {
    const copies = near.get(leader[ordinal] as number)
    if (copies === undefined || leader[ordinal] === ordinal) continue
    copies.count++
    if (copies.first.length < NEAR_SHOWN) copies.first.push(ordinal)
  }
  const texts = await spool.pick([...near.keys(), ...[...near.values()].flatMap(({ first }) => first)])
  return largest.map(({ ordinal, size }) => {
    const { count = 0, first = [] } = near.get(ordinal) ?? {}
    const [kept = '', ...copies] = [ordinal, ...first].map((of) => texts.get(of)?.text ?? '')
    const from = startOf(kept, Math.min(...copies.map((copy) => differenceOf(kept, copy))))
    const shown = (of: number) => {
      const { id = '', text = '' } = texts.get(of) ?? {}
      return { id, text: `${from > 0 ? '… ' : ''}${beginning(text.slice(from), SHOWN)}` }
    }
    return { ...shown(ordinal), size, nearCopies: count, near: first.map(shown) }
  })
}

/** Where the texts of a cluster begin to be shown, whose first difference is at `difference`: at the beginning, or at a word before it. */
function startOf(kept: string, difference: number): number {
  if (difference <= BEFORE_DIFFERENCE || difference === Number.POSITIVE_INFINITY) return 0
  return kept.lastIndexOf(' ', difference - CONTEXT) + 1
}

function differenceOf(a: string, b: string): number {
  if (a === b) return Number.POSITIVE_INFINITY
  let at = 0
  while (at < a.length && a[at] === b[at]) at++
  return at
}
