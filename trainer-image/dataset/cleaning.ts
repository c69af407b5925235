import type { Cleaning } from '#proto/humanizer/trainer/v1/preparation.ts'
import { removeEmails, removeUrls } from './addresses.ts'
import { codePoints, plainCharacters, tidyWhitespace } from './characters.ts'
import { languageOf } from './language.ts'
import { hasWords } from './words.ts'

/** Why a text was removed; the words are those of the dataset's status.counts. */
export type RemovalRule = 'tooShort' | 'tooLong' | 'tooFewWords' | 'otherLanguage'

/** A text longer than anybody wants is not cleaned: its beginning stands for it, and its UTF-16 units are counted. */
export type Cleaned = {
  readonly text: string
  /** Code points of what cleaning left. */
  readonly characters: number
} & ({ readonly kind: 'kept' } | { readonly kind: 'removed'; readonly rule: RemovalRule })

/** A raw text longer than this many times the longest, and a mebibyte, is too long whatever cleaning would take away. */
const HOPELESS = 16

/** Cleans one raw text and judges what is left. Lengths count code points after cleaning, not UTF-16 units. */
export function clean(raw: string, rules: Cleaning): Cleaned {
  if (raw.length > HOPELESS * rules.maxCharacters + 2 ** 20)
    return { kind: 'removed', rule: 'tooLong', text: raw.slice(0, rules.maxCharacters), characters: raw.length }
  let text = plainCharacters(raw)
  if (rules.removeUrls) text = removeUrls(text)
  if (rules.removeEmails) text = removeEmails(text)
  text = tidyWhitespace(text)
  const characters = codePoints(text)
  const removed = (rule: RemovalRule): Cleaned => ({ kind: 'removed', rule, text, characters })
  if (characters < rules.minCharacters) return removed('tooShort')
  if (characters > rules.maxCharacters) return removed('tooLong')
  if (!hasWords(text, rules.minWords)) return removed('tooFewWords')
  if (rules.languages.length > 0 && !rules.languages.includes(languageOf(text))) return removed('otherLanguage')
  return { kind: 'kept', text, characters }
}

/** The form in which two texts are the same text: lower case, white space collapsed. Both duplicate searches compare it. */
export function normalForm(text: string): string {
  return text
    .toLowerCase()
    .replace(/\s{2,}|[^\S ]/g, ' ')
    .trim()
}
