import { type Author, humanFilter, type Values } from './human.ts'
import { Lowest, RowRanks } from './sampled.ts'
import type { Condition } from './source.ts'

/**
 * Which rows of a file are worth more than their labels: those of humans, and of the others the few that are drawn by their names. The
 * columns of the filter come first among those that are read. Plain data.
 */
export interface Selection {
  readonly human: readonly Condition[]
  /** Rows from there on, counted from 0 in the file, are not looked at. */
  readonly rows: number
  /** A row's name is the prefix and its number, counted from 1 behind the rows of earlier files. */
  readonly names: { readonly seed: number; readonly prefix: string; readonly before: number }
  /** So many of those that no human wrote, for the report. */
  readonly shown: number
  /** So many machine-written ones, of ranks below the limit. */
  readonly drawn: { readonly wanted: number; readonly limit: number }
}

/** Rows that were left out, and what their deciding columns held. */
export interface LeftOut {
  readonly values: Values
  readonly count: number
}

/** More different values are not worth a list. */
export const MOST_VALUES = 256

/** Who wrote rows that may be left out. */
export const isLeftOut = (author: Author): boolean => author === 'other' || author === 'machine'

export interface Selecting {
  authorOf(values: Values): Author
  /** To be asked of each row that may be left out, in their order: whether it is drawn nevertheless, so far. */
  isDrawn(row: number, author: Author): boolean
  /** Those that are drawn of all that were asked for. */
  drawn(): readonly number[]
}

/** Undefined where there is nothing to select by. */
export function selecting({ human, names, shown, drawn }: Selection): Selecting | undefined {
  if (human.length === 0) return undefined
  const ranks = new RowRanks(names.seed, names.prefix)
  const forReport = new Lowest<number>(shown)
  const ofMachines = new Lowest<number>(drawn.wanted, drawn.limit)
  return {
    authorOf: humanFilter(human).authorOf,
    isDrawn(row, author) {
      const rank = ranks.rankOf(names.before + row + 1)
      // Hardly any row is: nothing is made for the others.
      const isShown = rank < forReport.limit && forReport.offer(rank, () => row)
      return (author === 'machine' && rank < ofMachines.limit && ofMachines.offer(rank, () => row)) || isShown
    },
    drawn: () => [...forReport.held, ...ofMachines.held].map(({ item }) => item),
  }
}
