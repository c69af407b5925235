/** What became of a text that had to be cut. */
export interface Cut {
  /** In their order, trimmed. */
  readonly pieces: readonly string[]
  /** Sentences that do not fit even alone; they are in no piece. */
  readonly dropped: number
  readonly droppedCharacters: number
}

const sentences = new Intl.Segmenter('en', { granularity: 'sentence' })

const paragraphsOf = (text: string): string[] => text.split(/(?<=\n[^\S\n]*\n)(?=\S)/)
const sentencesOf = (text: string): string[] => Array.from(sentences.segment(text), ({ segment }) => segment)

/**
 * Cuts a text into the longest pieces that fit: at paragraphs, and inside a paragraph that does not fit alone, at
 * sentences. No sentence is ever cut. `fits` must be monotone: what fits, still fits when made shorter.
 */
export function cut(text: string, fits: (piece: string) => boolean): Cut {
  const pieces: string[] = []
  let dropped = 0
  let droppedCharacters = 0
  let open = ''
  const close = (): void => {
    if (open.trim() !== '') pieces.push(open.trim())
    open = ''
  }
  const add = (unit: string, divide: ((unit: string) => string[]) | undefined): void => {
    if (fits((open + unit).trim())) {
      open += unit
      return
    }
    close()
    if (fits(unit.trim())) open = unit
    else if (divide === undefined) {
      dropped += 1
      droppedCharacters += unit.trim().length
    } else for (const part of divide(unit)) add(part, undefined)
  }
  for (const paragraph of paragraphsOf(text)) add(paragraph, sentencesOf)
  close()
  return { pieces, dropped, droppedCharacters }
}
