import type { Cleaning, DataCounts } from '#proto/humanizer/trainer/v1/preparation.ts'
import { FirstOfEqual } from './exact.ts'
import { emptyCounts, type Removal } from './funnel.ts'
import { type HumanFilter, humanFilter } from './human.ts'
import { noLengths } from './lengths.ts'
import type { LocatedSource } from './locate.ts'
import { type MachineText, MachineTexts } from './machine-texts.ts'
import { Numbers } from './numbers.ts'
import { Drawn } from './sampled.ts'

/** A removed text as the report shows it. */
export interface Example {
  readonly id: string
  readonly rule: Removal
  /** Beginning of the cleaned text. */
  readonly excerpt: string
  /** The text that was kept in its place, or the evaluation text that it is like. */
  readonly duplicateOf?: string
}

export interface Collected {
  readonly counts: readonly DataCounts[]
  /** By ordinal in the spool: index of the source. */
  readonly sourceOf: Uint32Array
  /** By ordinal: its row in the source, from 1. */
  readonly rowOf: Uint32Array
  /** By ordinal: ordinal of the first text with the same normal form; differs from its own only when exact is off. */
  readonly sameAs: Uint32Array
  /** By ordinal: ordinal of the first text of its group. */
  readonly groupOf: Uint32Array
  /** By ordinal: texts that were removed as exact copies of it. */
  readonly copies: Uint32Array
  /** Some of each rule and source, drawn by their names. */
  readonly examples: readonly Example[]
  /** By source: how many human-written texts cleaning left of each length (lengths.ts). */
  readonly lengths: readonly (readonly number[])[]
  readonly machineTexts: readonly MachineText[]
  /** By source: texts that passed cleaning and look wrongly decoded. */
  readonly mojibake: readonly number[]
}

/** Of each source. */
export const EXAMPLES_PER_RULE = 3

/** Of the examples that a rule removed of a source. */
export const exampleKey = (rule: Removal, sourceName: string): string => `${rule} ${sourceName}`

/** What was collected of the files so far. */
export interface Collecting {
  readonly counts: readonly DataCounts[]
  readonly sourceOf: Numbers
  readonly rowOf: Numbers
  readonly sameAs: Numbers
  readonly groupOf: Numbers
  readonly copies: Numbers
  readonly mojibake: number[]
  readonly lengths: readonly number[][]
  readonly examples: Drawn<Example>
  readonly texts: FirstOfEqual
  readonly groups: FirstOfEqual
  readonly machine: MachineTexts
  readonly filters: readonly HumanFilter[]
}

export const nothingCollected = (
  sources: readonly LocatedSource[],
  { seed, cleaning }: { readonly seed: number; readonly cleaning: Cleaning },
): Collecting => ({
  counts: sources.map(emptyCounts),
  sourceOf: new Numbers(),
  rowOf: new Numbers(),
  sameAs: new Numbers(),
  groupOf: new Numbers(),
  copies: new Numbers(),
  mojibake: sources.map(() => 0),
  lengths: sources.map(noLengths),
  examples: new Drawn<Example>(seed, EXAMPLES_PER_RULE),
  texts: new FirstOfEqual(),
  groups: new FirstOfEqual(),
  machine: new MachineTexts(seed, cleaning),
  filters: sources.map(({ human }) => humanFilter(human)),
})

export const collectedOf = async (collecting: Collecting): Promise<Collected> => ({
  counts: collecting.counts,
  sourceOf: collecting.sourceOf.all,
  rowOf: collecting.rowOf.all,
  sameAs: collecting.sameAs.all,
  groupOf: collecting.groupOf.all,
  copies: collecting.copies.all,
  examples: collecting.examples.all,
  lengths: collecting.lengths,
  machineTexts: await collecting.machine.sample(collecting.texts),
  mojibake: collecting.mojibake,
})
