/**
 * What texts that are written between two steps take in memory. Their keys and values, and what a pass needs beside them, lie where a step
 * has its activations, which are nobody's then (LentBlocks, lent_blocks.h); what finds no room there is memory of its own.
 */
import type { PassShape } from './pass-shape.ts'

/**
 * Texts that are computed together, and prompt tokens of one pass: no result depends on them but for rounding. What a prompt needs stays
 * small, and a stop is heard between two passes.
 */
export const TEXTS_AT_ONCE = 8
export const PROMPT_TOKENS = 256
/** What a text's keys and values take beyond their tokens (Sequence::reserve), and the gaps that texts of other lengths leave. */
const [share, tokensAhead] = [1.5, 32]

/** The largest pass over texts: every row of it is a token of theirs. */
export const textPass = (cacheTokens: number): PassShape => ({
  tokens: Math.min(PROMPT_TOKENS + TEXTS_AT_ONCE, cacheTokens),
  documents: TEXTS_AT_ONCE,
  labels: TEXTS_AT_ONCE,
  longest: cacheTokens,
})

export interface TextNeeds {
  /** Bytes of the keys and values of one text of full length, which has so many tokens. */
  readonly cache: number
  readonly tokens: number
  /** Of `textPass`, and of all that a step takes for its time. */
  readonly pass: number
  readonly step: number
}

const wanted = ({ cache, tokens }: TextNeeds, texts: number): number =>
  share * texts * cache + (TEXTS_AT_ONCE * tokensAhead * cache) / tokens

/** Bytes beyond the step's, of the keys and values of texts that have the tokens of one of full length together. */
export const textsBeyondStep = (needs: TextNeeds): number =>
  Math.ceil(Math.min(needs.cache, Math.max(0, wanted(needs, 1) + needs.pass - needs.step)))

/** How many texts of full length the step's memory has room for. */
export function textsWithinStep(needs: TextNeeds): number {
  const free = needs.step - needs.pass - wanted(needs, 0)
  return Math.max(0, Math.floor(free / (share * needs.cache)))
}
