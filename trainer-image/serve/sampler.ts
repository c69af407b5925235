import type { TokenChoice } from '../native/index.ts'

/** How the next token is chosen. Ranges are those of the OpenAI API and are checked before they come here. */
export interface Sampling {
  /** 0 is greedy; otherwise logits are divided by it. */
  readonly temperature: number
  /** Keeps the smallest set of tokens whose probabilities reach this sum; 1 keeps all. */
  readonly topP: number
  /** Subtracted once from the logit of every token already generated. */
  readonly presencePenalty: number
  /** Subtracted per earlier occurrence of a generated token. */
  readonly frequencyPenalty: number
  /** Number of alternatives to report with log-probabilities; undefined reports none, not even the chosen token's. */
  readonly topLogprobs: number | undefined
}

/** What the engine needs to choose the next token. @param counts how often each token was generated already in this answer */
export function choiceOf(
  { temperature, topP, presencePenalty, frequencyPenalty, topLogprobs }: Sampling,
  counts: ReadonlyMap<number, number>,
  random: number,
): TokenChoice {
  const isPenalised = presencePenalty !== 0 || frequencyPenalty !== 0
  return {
    temperature,
    topP,
    random,
    alternatives: topLogprobs ?? -1,
    tokens: Int32Array.from(isPenalised ? counts.keys() : []),
    penalties: Float32Array.from(
      isPenalised ? counts.values() : [],
      (count) => presencePenalty + count * frequencyPenalty,
    ),
  }
}
