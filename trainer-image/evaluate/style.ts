import { sentencesOf, wordsOf } from './words.ts'

/**
 * Marks of style that tell human from machine text (arXiv 2604.11687: sentence-length variation, contractions, punctuation and
 * reading grade differ most). Undefined where a text is too short to have one.
 */
export const styleMarkers: Readonly<Record<string, (text: string) => number | undefined>> = {
  sentenceLength: (text) => mean(lengthsOf(text)),
  sentenceLengthDeviation: (text) => deviation(lengthsOf(text)),
  wordLength: (text) => mean(wordsOf(text).map((word) => word.length)),
  contractions: (text) => perHundredWords(text, /\p{L}['’](?:s|t|re|ve|ll|d|m)\b/giu),
  commas: (text) => perHundredWords(text, /,/g),
  readingGrade,
}

const lengthsOf = (text: string): number[] => sentencesOf(text).map((sentence) => wordsOf(sentence).length)

const mean = (values: readonly number[]): number | undefined =>
  values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length

/** Of a sample: divided by one less than there are. */
function deviation(values: readonly number[]): number | undefined {
  const middle = mean(values)
  if (middle === undefined || values.length < 2) return undefined
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1))
}

function perHundredWords(text: string, pattern: RegExp): number | undefined {
  const words = wordsOf(text).length
  return words === 0 ? undefined : (100 * (text.match(pattern)?.length ?? 0)) / words
}

/** Flesch–Kincaid grade: 0.39 words/sentence + 11.8 syllables/word − 15.59 (Kincaid et al. 1975). */
function readingGrade(text: string): number | undefined {
  const words = wordsOf(text)
  const sentences = sentencesOf(text).length
  if (sentences === 0) return undefined
  const syllables = words.reduce((sum, word) => sum + syllablesOf(word), 0)
  return 0.39 * (words.length / sentences) + 11.8 * (syllables / words.length) - 15.59
}

/** Groups of vowels, without a silent e at the end; at least one. */
export function syllablesOf(word: string): number {
  const groups = word.replace(/(?<=[^aeiouy])(?:es|ed|e)$/, (end) =>
    /[^aeiouy]le$|[td]ed$|[sxz]es$/.test(word) ? end : '',
  )
  return Math.max(1, groups.match(/[aeiouy]+/g)?.length ?? 1)
}

/**
 * How far `texts` are from human ones: for each marker the difference of the two means in standard deviations of the human texts
 * (Glass's delta), and of these the mean. Undefined where no marker varies among the human texts.
 */
export function styleDistance(texts: readonly MarkerValues[], human: readonly MarkerValues[]): number | undefined {
  const distances = Object.keys(styleMarkers).flatMap((marker) => {
    const valuesOf = (of: readonly MarkerValues[]): number[] => of.flatMap((values) => values[marker] ?? [])
    const [theirs, ours] = [mean(valuesOf(texts)), mean(valuesOf(human))]
    const spread = deviation(valuesOf(human))
    return theirs === undefined || ours === undefined || !spread ? [] : [Math.abs(theirs - ours) / spread]
  })
  return mean(distances)
}

export type MarkerValues = Readonly<Record<string, number | undefined>>

export const markersOf = (text: string): MarkerValues =>
  Object.fromEntries(Object.entries(styleMarkers).map(([name, of]) => [name, of(text)]))
