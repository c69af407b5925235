/*
 * Words by Unicode's rules (UAX 29), as ICU has them: "can't", "o’neil", "U.S", "3.14" and "a_b" are one word, "well-known" is two;
 * Chinese, Japanese, Thai and other scripts without spaces are divided by ICU's dictionaries. What holds neither a letter nor
 * a digit is no word.
 */

const segmenter = new Intl.Segmenter('en', { granularity: 'word' })

/** ASCII, composed Latin, Greek and Cyrillic letters and the usual punctuation: here the rules need no look-up by character. */
const SIMPLE =
  /^[\p{ASCII}\u00a0-\u00ac\u00ae-\u024f\u0370-\u037d\u0388-\u0482\u048a-\u052f\u2010-\u201f\u2022\u2026\u2030\u2039\u203a\u20ac\u2122]*$/u

// Letters, digits and underscores; between two letters also one of : · . ' ‘ ’, and between two digits one of , ; . ' ‘ ’ (WB5 to WB13b).
const WORD = /(?:[\p{Alphabetic}_\d](?:(?<=\p{Alphabetic})[:·.'‘’](?=\p{Alphabetic})|(?<=\d)[,;.'‘’](?=\d))?)+/gu

const HOLDS_ONE = /[\p{Alphabetic}\p{Nd}]/u

/** Words of the beginning of a text are enough to tell that it has many: this many characters for each. */
const CHARACTERS_PER_WORD = 24

/** Whether a text has at least so many words. */
export function hasWords(text: string, atLeast: number): boolean {
  const beginning = text.slice(0, CHARACTERS_PER_WORD * atLeast)
  // The last word of a beginning may be the half of one, but half a word is one, too.
  if (SIMPLE.test(beginning) && countOf(simpleWords(beginning), atLeast) >= atLeast) return true
  if (beginning.length === text.length && SIMPLE.test(text)) return false
  return countOf(SIMPLE.test(text) ? simpleWords(text) : wordsByIcu(text), atLeast) >= atLeast
}

function countOf(words: Iterable<unknown>, enough: number): number {
  let count = 0
  if (enough > 0) for (const _ of words) if (++count >= enough) break
  return count
}

/** The words of a text, in their order. */
export const wordsOf = (text: string): Iterable<string> => (SIMPLE.test(text) ? simpleWords(text) : wordsByIcu(text))

function* simpleWords(text: string): Generator<string> {
  for (const [word] of text.matchAll(WORD)) if (HOLDS_ONE.test(word)) yield word
}

/** By ICU, character by character: exact for every script, and some ten times slower. */
export function* wordsByIcu(text: string): Generator<string> {
  for (const { segment } of segmenter.segment(text)) if (HOLDS_ONE.test(segment)) yield segment
}
