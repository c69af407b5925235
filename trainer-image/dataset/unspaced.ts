/*
 * Scripts that put no spaces between words: Chinese, Japanese, Thai, Lao, Khmer and Burmese. Their words are those that ICU's dictionaries tell.
 */
import { wordsByIcu } from './words.ts'

const LETTER = /\p{Alphabetic}/gu
const UNSPACED = /[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Laoo}\p{sc=Khmr}\p{sc=Mymr}]/gu
/** Their blocks, so that other texts are told at once. */
const FIRST_OF_THEM =
  /[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\u{20000}-\u{3ffff}]/u
/** So much of a text is looked at. */
const LOOKED_AT = 2000

/** Whether most letters of a text are of such a script. */
export function isUnspaced(text: string): boolean {
  if (!FIRST_OF_THEM.test(text)) return false
  const beginning = text.slice(0, LOOKED_AT)
  return 2 * (beginning.match(UNSPACED)?.length ?? 0) > (beginning.match(LETTER)?.length ?? 0)
}

/** Words by spaces, or by dictionaries where the text that is asked for has no spaces. */
export const spacedWords = (text: string, unspaced: boolean): readonly string[] =>
  unspaced ? [...wordsByIcu(text)] : (text.match(/[^\s]+/g) ?? [])

/** A normal form with spaces between its words, as the search for near copies compares them. */
export const wordsApart = (normal: string): string => (isUnspaced(normal) ? [...wordsByIcu(normal)].join(' ') : normal)

const segmenter = new Intl.Segmenter('en', { granularity: 'word' })

/** Shares that a corruption touches. */
export interface Shares {
  readonly contentWordsLost: number
  readonly functionWordsLost: number
  readonly neighboursSwapped: number
  readonly innerMarksLost: number
}

/** The corruption of denoise.ts for a line of such a script. Most particles are words of one character, so those count as function words. */
export function corruptUnspaced(line: string, shares: Shares, random: () => number): string {
  const parts: { text: string; isWord: boolean }[] = []
  for (const { segment, isWordLike = false } of segmenter.segment(line)) {
    const lost = [...segment].length === 1 ? shares.functionWordsLost : shares.contentWordsLost
    const text = isWordLike ? (random() < lost ? '' : segment) : flattened(segment, shares, random)
    if (text !== '') parts.push({ text, isWord: isWordLike })
  }
  for (let i = 0; i + 1 < parts.length; i++) {
    const [left, right] = [parts[i], parts[i + 1]]
    if (!left?.isWord || !right?.isWord || random() >= shares.neighboursSwapped) continue
    parts[i] = right
    parts[i + 1] = left
    i++
  }
  return parts.map(({ text }) => text).join('')
}

/** What stands in a line, word by word, the last first. */
export const turnedRound = (line: string): string =>
  Array.from(segmenter.segment(line), ({ segment }) => segment)
    .reverse()
    .join('')

/** As in spaced text: quotation marks and brackets go, inner marks mostly, and ！ and ？ become full stops. */
function flattened(marks: string, { innerMarksLost }: Shares, random: () => number): string {
  return marks
    .replace(/[「」『』《》〈〉【】（）“”‘’"()]/g, '')
    .replace(/[，、；：,;:]/g, (mark) => (random() < innerMarksLost ? '' : mark))
    .replace(/[！？!?…]+/g, '。')
}
