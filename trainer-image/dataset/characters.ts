const LINE_BREAK = /\r\n?|[\u0085\u2028\u2029]/g
// Soft hyphen, grapheme joiner, fillers that show nothing, zero-width space, word joiner and invisible operators, byte order mark,
// direction marks and overrides, interlinear annotation, noncharacters (GAP of addresses.ts is one), and every control character but tab
// and newline.
const INVISIBLE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\u3164\ufdd0-\ufdef\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff]|\u034f|[\u17b4\u17b5]/g
// A joiner is spelling after a letter of these scripts and part of an emoji after a pictograph; anywhere else it is a hidden mark.
const STRAY_JOINER =
  /(?<!\ufe0f|[\p{Script=Arabic}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Gurmukhi}\p{Script=Gujarati}\p{Script=Oriya}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}\p{Script=Mongolian}\p{Extended_Pictographic}\p{Emoji_Modifier}])[\u200c\u200d]/gu

// A variation selector chooses the look of an emoji, an ideograph or a sign of mathematics; anywhere else, and in runs, it hides data.
const STRAY_SELECTOR =
  /(?<![\p{Emoji}\p{Script=Han}\p{Script=Myanmar}\p{Script=Phags_Pa}\p{Sm}])[\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/gu
// Tag characters spell the flags of England, Scotland and Wales after a black flag; anywhere else they hide ASCII.
const STRAY_TAG = /(?<!\u{1f3f4}[\u{e0020}-\u{e007e}]*)[\u{e0000}-\u{e007f}]/gu
const MAY_HIDE = /[\ufe00-\ufe0f\udb40]/
const JOINER = /[\u200c\u200d]/
/** Of these nothing is ever changed: the usual letters, each its own NFC and never the second part of another, and punctuation. */
const PLAIN =
  /[\t\n -~\u00a0-\u00ac\u00ae-\u02ff\u0370-\u0373\u0375-\u037d\u0388-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205e\u20a0-\u20bf\u2122\u3001-\u3029\u3041-\u3096\u30a1-\u30ff\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff5e]/
/** By UTF-16 unit; the expression would take three times as long. Made for the first text. */
let plain: Uint8Array | undefined

/** Whether the text is of such characters alone. */
export function isPlain(text: string): boolean {
  plain ??= Uint8Array.from({ length: 1 << 16 }, (_, unit) => (PLAIN.test(String.fromCharCode(unit)) ? 1 : 0))
  for (let i = 0; i < text.length; i++) if (plain[text.charCodeAt(i)] === 0) return false
  return true
}

/** ASCII without most controls. */
const ASCII = /^[\t\n -~]*$/

/** NFC, well-formed UTF-16, one kind of line break, no control, direction or zero-width characters that do not spell. */
export function plainCharacters(text: string): string {
  return isPlain(text) ? text : withoutHidden(text)
}

/** What plainCharacters says, of any text. */
export function withoutHidden(text: string): string {
  const visible = text.toWellFormed().replace(LINE_BREAK, '\n').replace(INVISIBLE, '')
  const bare = JOINER.test(visible) ? visible.replace(STRAY_JOINER, '') : visible
  // Last, since what was taken out may have stood between a letter and its accent.
  return (MAY_HIDE.test(bare) ? bare.replace(STRAY_SELECTOR, '').replace(STRAY_TAG, '') : bare).normalize('NFC')
}

/** Runs of spaces become one, lines lose their edges, and at most one blank line stands between paragraphs. */
export function tidyWhitespace(text: string): string {
  return text
    .replace(/[^\S\n]{2,}|[^\S\n ]/g, ' ')
    .replace(/ ?\n ?/g, '\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim()
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

// UTF-8 that was read as Windows-1252 or Latin-1: "Ã©" for é, "â€™" for an apostrophe, "Â " for a no-break space, "Ð¿Ñ€" for Cyrillic, "ðŸ˜€"
// for an emoji, "ï»¿" for a byte order mark; Windows-1252 that was read as Latin-1 (controls of the C1 set); and U+FFFD, where a
// decoder had nothing better.
const MOJIBAKE =
  /Ã[\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192]|â(?:€|\u0080)[\u0080-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u02c6\u02dc\u2013-\u203a\u20ac\u2122]|Â[\u00a0-\u00bf]|(?:[ÐÑ][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]){2}|ð[Ÿ\u009f]|ï(?:»¿|¿½)|[\u0080-\u0084\u0086-\u009f\ufffd]/

/** Whether a text, before it is cleaned, holds letters that a wrong decoding made. It is told, never repaired: some are meant. */
export const hasMojibake = (text: string): boolean => !ASCII.test(text) && MOJIBAKE.test(text)
