import { type Author, humanFilter, type Values } from './human.ts'
import { DrawnRows } from './sampled.ts'
import type { Condition } from './source.ts'

/**
 * Which rows of a file are worth more than their labels: all but those that the human filter calls "other", and of these the few that the
 * report may show. The columns of the filter come first among those that are read. Plain data: another thread may go by it.
 */
export interface Selection {
  readonly human: readonly Condition[]
  /** Rows from there on, counted from 0 in the file, are not looked at. */
  readonly rows: number
  /** A row's name is the prefix and its number, counted from 1 behind the rows of earlier files. */
  readonly shown: { readonly seed: number; readonly wanted: number; readonly prefix: string; readonly before: number }
  /** Columns of which the MD5 sums are wanted, each text behind the prefix, by who wrote the row. */
  readonly summed: { readonly prefix: string } & Readonly<Partial<Record<Author, number>>>
}

/** Rows that were left out, and what their deciding columns held. */
export interface LeftOut {
  readonly values: Values
  readonly count: number
}

/** More different values are not worth a list. */
export const MOST_VALUES = 256

export interface Selecting {
  authorOf(values: Values): Author
  /** To be asked of each row that is left out, in their order: whether the report may show it nevertheless. */
  isShown(row: number): boolean
  /** Those that it may show, of all that were asked for. */
  shown(): readonly number[]
}

/** Undefined where there is nothing to select by. */
export function selecting({ human, shown }: Selection): Selecting | undefined {
  if (human.length === 0) return undefined
  const filter = humanFilter(human)
  const drawn = new DrawnRows(shown.seed, shown.wanted, shown.prefix)
  return {
    authorOf: filter.authorOf,
    isShown: (row) => drawn.offer(shown.before + row + 1),
    shown: () => drawn.numbers.map((number) => number - shown.before - 1),
  }
}
