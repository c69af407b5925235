/*
 * How texts fall into words and sentences, the same for every metric. On ASCII text the words are those of rouge-score
 * without stemming: lower case, and everything but letters and digits separates.
 */

export const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []

const sentences = new Intl.Segmenter('en', { granularity: 'sentence' })

/** Sentences by Unicode's rules (UAX 29), without those that hold no word. */
export const sentencesOf = (text: string): string[] =>
  [...sentences.segment(text)].map(({ segment }) => segment.trim()).filter((sentence) => /[\p{L}\p{N}]/u.test(sentence))

/** How often each item stands in the list. */
export function countsOf(items: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1)
  return counts
}

/** Share of `wanted` that `found` has too, each as often as it stands there; undefined without any. */
export function keptShare(wanted: readonly string[], found: readonly string[]): number | undefined {
  if (wanted.length === 0) return undefined
  const there = countsOf(found)
  let kept = 0
  for (const [item, count] of countsOf(wanted)) kept += Math.min(count, there.get(item) ?? 0)
  return kept / wanted.length
}
