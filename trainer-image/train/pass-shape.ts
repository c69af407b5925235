/** The largest pass that the engine makes over a run's packed sequences. */

/** Bounds of one pass of the engine over a group of packed sequences. */
export interface PassShape {
  readonly tokens: number
  readonly documents: number
  /** Tokens with a label: the rows of the head. */
  readonly labels: number
  /** Tokens of the longest document. */
  readonly longest: number
}

/** The lengths, in tokens, of all that a run will feed to its model. */
export interface Lengths {
  /** Of one packed sequence. */
  readonly longestSequence: number
  readonly longestDocument: number
  readonly shortestDocument: number
  /** In one packed sequence. */
  readonly mostDocuments: number
  readonly mostLabels: number
}

/** The engine works through packed sequences about so many tokens at a time: group_tokens of backend.h and cuda.cu. */
export const groupTokensOf = (onDevice: boolean): number => (onDevice ? 8192 : 1024)

/** The largest pass of a run: a group ends before it exceeds groupTokens, but holds one sequence at least. */
export function largestPass(
  lengths: Lengths,
  microBatchSize: number,
  maxSequenceLength: number,
  groupTokens = groupTokensOf(false),
): PassShape {
  const sequence = Math.min(lengths.longestSequence, maxSequenceLength)
  const tokens = Math.max(sequence, Math.min(groupTokens, microBatchSize * sequence))
  return {
    tokens,
    documents: Math.max(
      1,
      Math.min(microBatchSize * lengths.mostDocuments, Math.floor(tokens / lengths.shortestDocument)),
    ),
    labels: Math.min(microBatchSize * lengths.mostLabels, tokens),
    longest: Math.min(lengths.longestDocument, sequence),
  }
}
