import type { Cleaning } from '#proto/humanizer/trainer/v1/preparation.ts'

/** Why a text was removed; the words are those of the dataset's status.counts. */
export type RemovalRule = 'tooShort' | 'tooLong' | 'tooFewWords'

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
  return { kind: 'kept', text, characters }
}

const LINE_BREAK = /\r\n?|[\u0085\u2028\u2029]/g
// Soft hyphen, zero-width space, word joiner and invisible operators, byte order mark, direction marks and overrides,
// interlinear annotation, noncharacters (GAP is one), and every control character but tab and newline.
const INVISIBLE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\ufdd0-\ufdef]/g
// A joiner is spelling after a letter of these scripts and part of an emoji after a pictograph; anywhere else it is a hidden mark.
const STRAY_JOINER =
  /(?<!\ufe0f|[\p{Script=Arabic}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Gurmukhi}\p{Script=Gujarati}\p{Script=Oriya}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}\p{Script=Mongolian}\p{Extended_Pictographic}\p{Emoji_Modifier}])[\u200c\u200d]/gu

/** NFC, well-formed UTF-16, one kind of line break, no control, direction or zero-width characters that do not spell. */
export function plainCharacters(text: string): string {
  return text.toWellFormed().normalize('NFC').replace(LINE_BREAK, '\n').replace(INVISIBLE, '').replace(STRAY_JOINER, '')
}

/** Runs of spaces become one, lines lose their edges, and at most one blank line stands between paragraphs. */
export function tidyWhitespace(text: string): string {
  return text
    .replace(/[^\S\n]{2,}|[^\S\n ]/g, ' ')
    .replace(/ ?\n ?/g, '\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim()
}

const MARKDOWN_LINK =
  /!?\[([^[\]\n]{0,500})\]\(\s?(?:https?:\/\/|www\.|mailto:)[^\s()]*(?:\([^\s()]*\)[^\s()]*)*\s?\)/gi
const SCHEME_URL = /\b(?:https?|ftps?):\/\/[^\s<>"“”„«»]+/gi
const WWW_URL = /(?<![\w@.-])www\.[a-z0-9-]{1,63}\.[^\s<>"“”„«»]+/gi
// A bare host counts only with a path: "example.com/page" is an address, "the end.Next one" and "and/or" are prose.
const BARE_URL =
  /(?<![\w@.-])(?:[a-z0-9][a-z0-9-]{0,62}\.){1,4}(?:com|org|net|edu|gov|info|io|co|uk|de|fr|ly|me|tv|be|gl)\/[^\s<>"“”„«»]*/gi

/** Removes web addresses. The words of a Markdown link stay; so does the punctuation that ends the sentence. */
export function removeUrls(text: string): string {
  if (!/:\/\/|www\.|\.[a-z]{2,4}\/|mailto:/i.test(text)) return text
  let out = text.replace(MARKDOWN_LINK, '$1')
  for (const pattern of [SCHEME_URL, WWW_URL, BARE_URL]) out = out.replace(pattern, (url) => trailingProse(url))
  return closeGaps(out)
}

// Bounded repetitions keep the search linear in the length of the text.
const EMAIL =
  /(?<![\p{L}\p{N}.!#$%&'*+/=?^_`{|}~-])(?:mailto:)?[\p{L}\p{N}._%+'-]{1,64}@(?:[\p{L}\p{N}][\p{L}\p{N}-]{0,62}\.){1,8}\p{L}{2,24}(?![\p{L}\p{N}-])/giu

/** Removes e-mail addresses; handles ("@name") and spelled-out addresses ("name at host") are prose and stay. */
export function removeEmails(text: string): string {
  return text.includes('@') ? closeGaps(text.replace(EMAIL, GAP)) : text
}

// Marks where an address stood until the space around it is closed; a noncharacter, so no cleaned text holds it.
const GAP = '\ufdd0'

/** What follows an address in the text it stands in: sentence punctuation and a bracket that the address did not open. */
function trailingProse(url: string): string {
  const unopened = { ')': surplus(url, '(', ')'), ']': surplus(url, '[', ']') }
  let end = url.length
  for (; end > 0; end--) {
    const last = url[end - 1] as string
    if ('.,;:!?\'"*_’”»…'.includes(last)) continue
    if ((last === ')' || last === ']') && unopened[last]-- > 0) continue
    break
  }
  return GAP + url.slice(end)
}

/** How many more closing brackets than opening ones. */
function surplus(text: string, open: string, close: string): number {
  return text.split(close).length - text.split(open).length
}

/** Takes away the brackets that held nothing but an address, and the space an address leaves before punctuation. */
function closeGaps(text: string): string {
  return text
    .replace(/[(<[][ \t]*(?:\ufdd0[ \t]*)+[)>\]]/g, GAP)
    .replace(/[ \t]*\ufdd0[ \t]*(?=[.,;:!?)\]])/g, '')
    .replace(/(?<=[([])\ufdd0[ \t]*/g, '')
    .replace(/\ufdd0/g, '')
}

/** The first code points of a text, with a mark where it goes on. */
export function beginning(text: string, codePoints: number): string {
  const start = [...text.slice(0, 2 * codePoints)].slice(0, codePoints).join('')
  return start.length < text.length ? `${start}…` : start
}

export function codePoints(text: string): number {
  let n = text.length
  for (let i = 0; i < text.length; i++) if ((text.charCodeAt(i) & 0xfc00) === 0xdc00) n--
  return n
}

/**
 * Whether a text has at least so many words: runs without white space that hold a letter or a digit. Scripts written without
 * spaces count one word per run.
 */
export function hasWords(text: string, atLeast: number): boolean {
  let words = 0
  for (const [run] of text.matchAll(/\S+/g)) {
    if (words >= atLeast) return true
    if (/[\p{L}\p{N}]/u.test(run)) words++
  }
  return words >= atLeast
}

/** UTF-8 that was read as Windows-1252 or Latin-1: "Ã©" for é, "â€™" for an apostrophe, "Â " for a no-break space. */
const MOJIBAKE =
  /Ã[\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192]|â(?:€|\u0080)[\u0080-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u02c6\u02dc\u2013-\u203a\u20ac\u2122]|Â[\u00a0-\u00bf]/

/** Whether a text holds letters that a wrong decoding made. It is told, never repaired: some are meant. */
export const hasMojibake = (text: string): boolean => MOJIBAKE.test(text)

/** The form in which two texts are the same text: lower case, white space collapsed. Both duplicate searches compare it. */
export function normalForm(text: string): string {
  return text
    .toLowerCase()
    .replace(/\s{2,}|[^\S ]/g, ' ')
    .trim()
}
