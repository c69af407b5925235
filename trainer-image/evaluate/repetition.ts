import { sentencesOf, wordsOf } from './words.ts'

const ngramsOf = (words: readonly string[], n: number): string[] =>
  Array.from({ length: Math.max(0, words.length - n + 1) }, (_, i) => words.slice(i, i + n).join(' '))

/** Share of the n-grams that are different ones (distinct-n: Li et al. 2016, arXiv 1510.03055); undefined without any. */
export function distinct(text: string, n: number): number | undefined {
  const ngrams = ngramsOf(wordsOf(text), n)
  return ngrams.length === 0 ? undefined : new Set(ngrams).size / ngrams.length
}

/** seq-rep-n = 1 − unique n-grams / n-grams (Welleck et al. 2020, arXiv 1908.04319); undefined without any. */
export function sequenceRepetition(text: string, n: number): number | undefined {
  const share = distinct(text, n)
  return share === undefined ? undefined : 1 - share
}

/** Share of the sentences whose first two words began an earlier one; undefined with fewer than two sentences. */
export function repeatedStarts(text: string): number | undefined {
  const starts = sentencesOf(text).map((sentence) => wordsOf(sentence).slice(0, 2).join(' '))
  return starts.length < 2 ? undefined : (starts.length - new Set(starts).size) / starts.length
}
