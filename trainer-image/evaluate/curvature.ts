import type { Model } from '../native/index.ts'
import { batchOf, binsInOrder } from '../train/batches.ts'
import { type Codec, type Example, ignoredLabel } from '../train/example.ts'
import type { Work } from '../train/work.ts'

/*
 * Conditional probability curvature: Fast-DetectGPT (Bao et al. 2024, arXiv 2310.05130, equation 3, the analytic form with one model
 * as reference and scorer). A text that a model writes is likelier than what the model would put in the place of its words on average;
 * a human's is about as likely. For information: no detector is proof, and this one is the run's own small base.
 */

type ModelLikelihoods = Pick<Model, 'likelihoods'>

/**
 * (Σ log p(x) − Σ E[log p]) / √Σ Var[log p] of each text under the untouched base, without a prompt, of its first `capacity` tokens.
 * Undefined where a text has fewer than two tokens, or nothing in it could have been otherwise.
 */
export async function curvaturesOf(
  model: ModelLikelihoods,
  texts: readonly string[],
  { tokenizer }: Pick<Codec, 'tokenizer'>,
  capacity: number,
  { signal, beat }: Work,
): Promise<(number | undefined)[]> {
  const found = new Array<number | undefined>(texts.length).fill(undefined)
  const scored = texts.flatMap((text, index) => {
    const tokens = Int32Array.from(tokenizer.encode(text).subarray(0, capacity))
    return tokens.length < 2 ? [] : [{ index, example: exampleOf(tokens) }]
  })
  const examples = scored.map(({ example }) => example)
  for (const bin of binsInOrder(examples, capacity)) {
    signal.throwIfAborted()
    const likelihoods = await model.likelihoods(undefined, batchOf(examples, [bin], 0))
    beat()
    bin.forEach((ordinal, document) => {
      const { logProbability, mean, variance } = likelihoods[document]!
      const curvature = (logProbability - mean) / Math.sqrt(variance)
      if (Number.isFinite(curvature)) found[scored[ordinal]!.index] = curvature
    })
  }
  return found
}

/** Every token but the first is predicted. */
function exampleOf(tokens: Int32Array): Example {
  const labels = new Int32Array(tokens.length).fill(ignoredLabel)
  labels.set(tokens.subarray(1))
  return { id: '', tokens, labels, promptTokens: 0, labelTokens: tokens.length - 1 }
}
