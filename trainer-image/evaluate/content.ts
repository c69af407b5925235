import { keptShare, sentencesOf, wordsOf } from './words.ts'

/** Words of the input that the output keeps: the recall of ROUGE-1 (Lin 2004). */
export const wordOverlap = (input: string, output: string): number | undefined =>
  keptShare(wordsOf(input), wordsOf(output))

/** F1 of the longest common subsequence of words (ROUGE-L: Lin 2004, section 3); 0 when nothing is common. */
export function rougeL(input: string, output: string): number {
  const [a, b] = [wordsOf(input), wordsOf(output)]
  const common = longestCommonSubsequence(a, b)
  if (common === 0) return 0
  const [recall, precision] = [common / a.length, common / b.length]
  return (2 * recall * precision) / (recall + precision)
}

function longestCommonSubsequence(a: readonly string[], b: readonly string[]): number {
  let before = new Uint32Array(b.length + 1)
  let row = new Uint32Array(b.length + 1)
  for (const word of a) {
    for (let j = 0; j < b.length; j++) row[j + 1] = word === b[j] ? before[j]! + 1 : Math.max(before[j + 1]!, row[j]!)
    ;[before, row] = [row, before]
  }
  return before[b.length]!
}

const numbersOf = (text: string): string[] => text.match(/\d+(?:[.,]\d+)*/g) ?? []

/** Numbers of the input, digit for digit; undefined when it has none. */
export const numbersKept = (input: string, output: string): number | undefined =>
  keptShare(numbersOf(input), numbersOf(output))

/** Words with a capital that do not begin a sentence, "I" and its contractions aside: names, in English. */
export function namesOf(text: string): string[] {
  const later = sentencesOf(text).flatMap((sentence) => (sentence.match(word) ?? []).slice(1))
  return [...new Set(later)].filter((name) => /^\p{Lu}/u.test(name) && !/^I(?:$|['’])/.test(name))
}

const word = /\p{L}[\p{L}\p{M}]*(?:['’]\p{L}+)?/gu

/** Names of the input that stand anywhere in the output; undefined when it has none. */
export function namesKept(input: string, output: string): number | undefined {
  const names = namesOf(input)
  return keptShare(names, [...new Set(output.match(word) ?? [])])
}

/** Words of the output for each word of the input; undefined when that has none. */
export function lengthRatio(input: string, output: string): number | undefined {
  const words = wordsOf(input).length
  return words === 0 ? undefined : wordsOf(output).length / words
}
