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
  const kept = words.filter(
    (word) => random() >= (FUNCTION_WORDS.has(bare(word)) ? FUNCTION_WORDS_LOST : CONTENT_WORDS_LOST),
  )
  const rest = kept.length > 0 ? kept : words.slice(0, 1)
  for (let i = 0; i + 1 < rest.length; i++) {
    if (random() >= NEIGHBOURS_SWAPPED) continue
    const left = rest[i] as string
    rest[i] = rest[i + 1] as string
    rest[i + 1] = left
    i++
  }
  return rest
    .map((word) => flatten(word, random))
    .filter((word) => word !== '')
    .join(' ')
}

const bare = (word: string): string => word.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '')

/** Flattened punctuation: inner marks are mostly lost, quotation marks and brackets always, and ! and ? become full stops. */
function flatten(word: string, random: () => number): string {
  if (!/[^A-Za-z0-9']/.test(word)) return word
  return word
    .replace(/[“”"„«»()[\]{}*_]/g, '')
    .replace(/[‘’]/g, "'")
    .replace(/[—–]|--+/g, ' ')
    .replace(/[,;:]+(?=$|\s)/g, (_marks) => (random() < INNER_MARKS_LOST ? '' : ','))
    .replace(/[!?…]+|\.{2,}/g, '.')
    .trim()
}
