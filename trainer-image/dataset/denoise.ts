import { randomOf } from './random.ts'
import { corruptUnspaced, isUnspaced, turnedRound } from './unspaced.ts'

/** The share of words or marks that each corruption touches. */
const CONTENT_WORDS_LOST = 0.06
const FUNCTION_WORDS_LOST = 0.3
const NEIGHBOURS_SWAPPED = 0.06
const INNER_MARKS_LOST = 0.7

const SHARES = {
  contentWordsLost: CONTENT_WORDS_LOST,
  functionWordsLost: FUNCTION_WORDS_LOST,
  neighboursSwapped: NEIGHBOURS_SWAPPED,
  innerMarksLost: INNER_MARKS_LOST,
}

const FUNCTION_WORDS = new Set(
  (
    'a an the this that these those of to in on at by for from with into upon over under between through and or but nor so yet ' +
    'as if than then because while which who whom whose what when where is are was were be been being am has have had do does did ' +
    'will would shall should can could may might must not no it its he him his she her they them their we us our you your i me my ' +
    'there here also very just even only'
  ).split(' '),
)

/**
 * A seeded corruption of a human text: words dropped and swapped, function words lost, punctuation flattened. The task of a
 * Denoise sample is to write the original again. Lines stay lines; the same seed and id always give the same corruption.
 */
export function corrupt(text: string, seed: number, id: string): string {
  const random = randomOf(seed, `denoise\0${id}`)
  const unspaced = isUnspaced(text)
  const corrupted = text
    .split('\n')
    .map((line) => (unspaced ? corruptUnspaced(line, SHARES, random) : corruptLine(line, random)))
    .join('\n')
  if (/\S/.test(corrupted) && corrupted !== text) return corrupted
  // A text too short to be hit by chance: turn its words round, so that there is always something to restore.
  return text
    .split('\n')
    .map((line) => (unspaced ? turnedRound(line) : line.split(' ').reverse().join(' ')))
    .join('\n')
}

function corruptLine(line: string, random: () => number): string {
  if (line === '') return line
  const words = wordsOf(line)
  const kept = words.filter(
    (word) => random() >= (isFunctionWord(line, word) ? FUNCTION_WORDS_LOST : CONTENT_WORDS_LOST),
  )
  const rest = kept.length > 0 ? kept : words.slice(0, 1)
  for (let i = 0; i + 1 < rest.length; i++) {
    if (random() >= NEIGHBOURS_SWAPPED) continue
    const left = rest[i] as Word
    rest[i] = rest[i + 1] as Word
    rest[i + 1] = left
    i++
  }
  // Words that stand behind each other in the line, too, are taken from it together: most of the time goes into making strings.
  const parts: string[] = []
  let [begin, end] = [0, 0]
  for (const word of rest) {
    let own = word.end
    let flat: string | undefined
    if (!word.isPlain) flat = flatten(line.slice(word.begin, own), random)
    else if (word.isMarked && random() < INNER_MARKS_LOST) own--
    else if (word.isMarked && line[own - 1] !== ',') flat = `${line.slice(word.begin, own - 1)},`
    if (flat === '' || own === word.begin) continue
    if (flat === undefined && end > begin && word.begin === end + 1) {
      end = own
      continue
    }
    if (end > begin) parts.push(line.slice(begin, end))
    begin = word.begin
    end = flat === undefined ? own : begin
    if (flat !== undefined) parts.push(flat)
  }
  if (end > begin) parts.push(line.slice(begin, end))
  return parts.join(' ')
}

/** What stands between two spaces of a line. */
interface Word {
  readonly begin: number
  readonly end: number
  /** Letters and digits of ASCII and marks that stay; at its end there may be one that is lost or becomes a comma. */
  readonly isPlain: boolean
  readonly isMarked: boolean
  /** Of its letters and digits in lower case; undefined where it takes more than a look at the characters to tell them. */
  readonly sum: number | undefined
}

function wordsOf(line: string): Word[] {
  const words: Word[] = []
  for (let begin = 0, end = 0; begin <= line.length; begin = end + 1) {
    let isPlain = true
    let isMarked = false
    let isKnown = true
    let sum = 0
    for (end = begin; end < line.length; end++) {
      const unit = line.charCodeAt(end)
      if (unit === SPACE) break
      const lower = unit | 0x20
      if ((lower >= SMALL_A && lower <= SMALL_Z) || (unit >= ZERO && unit <= NINE)) {
        sum = plus(sum, lower)
        isMarked = false
        continue
      }
      const isMark = unit === COMMA || unit === COLON || unit === SEMICOLON
      if (unit === STOP ? line.charCodeAt(end + 1) === STOP : isMark ? isMarked : unit !== APOSTROPHE) isPlain = false
      isMarked = isMark
      // From hyphens to ellipsis, quotation marks among them, there is no letter.
      if (unit > 0x7f && (unit < 0x2010 || unit > 0x2027)) isKnown = false
    }
    words.push({ begin, end, isPlain, isMarked, sum: isKnown ? sum : undefined })
  }
  return words
}

const [SPACE, APOSTROPHE, COMMA, STOP, ZERO, NINE, COLON, SEMICOLON, SMALL_A, SMALL_Z] = [
  32, 39, 44, 46, 48, 57, 58, 59, 97, 122,
] as const

const plus = (sum: number, unit: number): number => Math.imul(sum ^ unit, 0x01000193)

/** Another word may have the sum of one. */
const FUNCTION_SUMS = new Set(Array.from(FUNCTION_WORDS, (word) => wordsOf(word)[0]?.sum))

function isFunctionWord(line: string, { begin, end, sum }: Word): boolean {
  if (sum !== undefined && !FUNCTION_SUMS.has(sum)) return false
  const word = line.slice(begin, end)
  return FUNCTION_WORDS.has(word) || FUNCTION_WORDS.has(bare(word))
}

const bare = (word: string): string => word.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '')

/** Flattened punctuation: inner marks are mostly lost, quotation marks and brackets always, and ! and ? become full stops. */
function flatten(word: string, random: () => number): string {
  return word
    .replace(/[“”"„«»()[\]{}*_]/g, '')
    .replace(/[‘’]/g, "'")
    .replace(/[—–]|--+/g, ' ')
    .replace(/[,;:]+(?=$|\s)/g, (_marks) => (random() < INNER_MARKS_LOST ? '' : ','))
    .replace(/[!?…]+|\.{2,}/g, '.')
    .trim()
}
