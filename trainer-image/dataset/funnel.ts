import type { DataCounts } from '#proto/humanizer/trainer/v1/preparation.ts'

/** Rules in the order in which a row meets them. */
export const removals = [
  'notHuman',
  'tooShort',
  'tooLong',
  'tooFewWords',
  'otherLanguage',
  'contaminated',
  'exactDuplicates',
  'nearDuplicates',
] as const satisfies readonly (keyof DataCounts)[]
export type Removal = (typeof removals)[number]

/** The rules in a person's words. */
export const ruleNames: Readonly<Record<Removal, string>> = {
  notHuman: 'not human-written',
  tooShort: 'too short',
  tooLong: 'too long',
  tooFewWords: 'too few words',
  otherLanguage: 'another language',
  contaminated: 'shared with an evaluation set',
  exactDuplicates: 'exact duplicates',
  nearDuplicates: 'near duplicates',
}

export const emptyCounts = (): DataCounts => ({
  read: 0,
  notHuman: 0,
  tooShort: 0,
  tooLong: 0,
  tooFewWords: 0,
  otherLanguage: 0,
  contaminated: 0,
  exactDuplicates: 0,
  nearDuplicates: 0,
  train: 0,
  validation: 0,
  crossSourceDuplicates: 0,
})

export function sumCounts(all: readonly DataCounts[]): DataCounts {
  const sum = emptyCounts()
  for (const counts of all) for (const key of Object.keys(sum) as (keyof DataCounts)[]) sum[key] += counts[key]
  return sum
}

/** Rows that no rule removed. */
export const keptOf = (counts: DataCounts): number => removals.reduce((rest, rule) => rest - counts[rule], counts.read)

/** The funnel as one sentence: "read 10, notHuman 4, …; 2 left". Rules that removed nothing are left out. */
export function sentenceOf(counts: DataCounts): string {
  const removed = removals.filter((rule) => counts[rule] > 0).map((rule) => `${rule} ${counts[rule]}`)
  return `${[`read ${counts.read}`, ...removed].join(', ')}; ${keptOf(counts)} left`
}
