import { randomOf } from './random.ts'

/** The share of words or marks that each corruption touches. */
const CONTENT_WORDS_LOST = 0.06
const FUNCTION_WORDS_LOST = 0.3
const NEIGHBOURS_SWAPPED = 0.06
const INNER_MARKS_LOST = 0.7

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
  const corrupted = text
    .split('\n')
    .map((line) => corruptLine(line, random))
    .join('\n')
  if (/\S/.test(corrupted) && corrupted !== text) return corrupted
  // A text too short to be hit by chance: turn its words round, so that there is always something to restore.
  return text
    .split('\n')
    .map((line) => line.split(' ').reverse().join(' '))
    .join('\n')
}

function corruptLine(line: string, random: () => number): string {
  if (line === '') return line
  const words = line.split(' ')
  const kept: string[] = []
  for (const word of words)
    if (random() >= (isFunctionWord(word) ? FUNCTION_WORDS_LOST : CONTENT_WORDS_LOST)) kept.push(word)
  const rest = kept.length > 0 ? kept : words.slice(0, 1)
  for (let i = 0; i + 1 < rest.length; i++) {
    if (random() >= NEIGHBOURS_SWAPPED) continue
    const left = rest[i] as string
    rest[i] = rest[i + 1] as string
    rest[i + 1] = left
    i++
  }
  const flat: string[] = []
  for (const word of rest) {
    const left = isPlain(word) ? word : flatten(word, random)
    if (left !== '') flat.push(left)
  }
  return flat.join(' ')
}

function isFunctionWord(word: string): boolean {
  if (FUNCTION_WORDS.has(word)) return true
  for (let i = 0; i < word.length; i++) {
    const unit = word.charCodeAt(i)
    if (unit < SMALL_A || unit > SMALL_Z) return FUNCTION_WORDS.has(bare(word))
  }
  return false
}

const bare = (word: string): string => word.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '')

const SMALL_A = 97
const SMALL_Z = 122
const APOSTROPHE = 39

/** Whether it holds nothing but letters and digits of ASCII and the apostrophe. */
function isPlain(word: string): boolean {
  for (let i = 0; i < word.length; i++) {
    const unit = word.charCodeAt(i)
    const letter = unit | 32
    if ((letter < SMALL_A || letter > SMALL_Z) && (unit < 48 || unit > 57) && unit !== APOSTROPHE) return false
  }
  return true
}

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
