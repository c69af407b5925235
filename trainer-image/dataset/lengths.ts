/** Lengths of texts in characters (code points), counted in bins of half an octave: 8, 11, 16, 23, 32, … */
export interface Lengths {
  readonly name: string
  /** By bin, texts that a human wrote, as cleaning left them. */
  readonly human: readonly number[]
  /** By bin, those of them that were kept. */
  readonly kept: readonly number[]
}

const FIRST = 8
/** The last bin holds what is longer. */
export const BINS = 34

/** The bin that texts of so many characters fall into. */
export const binOf = (characters: number): number =>
  Math.min(Math.max(Math.floor(2 * Math.log2(Math.max(characters, 1) / FIRST) + 1e-9), 0), BINS - 1)

/** Fewest characters of a bin. */
export const lowestOf = (bin: number): number => Math.ceil(FIRST * 2 ** (bin / 2) - 1e-9)

export const noLengths = (): number[] => new Array<number>(BINS).fill(0)
