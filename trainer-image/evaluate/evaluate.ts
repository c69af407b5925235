import type { Adapter, Model } from '../native/index.ts'
import { batchOf, binsInOrder } from '../train/batches.ts'
import type { Example } from '../train/example.ts'
import type { Work } from '../train/work.ts'
import { type DocumentLoss, lossesByText } from './loss.ts'

/** A fixed set of examples and how it is fed to the model. */
export interface EvaluationSet {
  readonly examples: readonly Example[]
  /** Tokens of one packed sequence. */
  readonly capacity: number
  /** Packed sequences of one batch: bounds memory, never the result. */
  readonly sequencesPerBatch: number
  readonly seed: number
}

/** The loss of each text of the set with dropout off; `adapter` undefined measures the untouched base. */
export async function evaluateLoss(
  model: Model,
  adapter: Adapter | undefined,
  { examples, capacity, sequencesPerBatch }: EvaluationSet,
  { signal, beat }: Work,
): Promise<DocumentLoss[]> {
  const bins = binsInOrder(examples, capacity)
  const losses: DocumentLoss[] = []
  for (let first = 0; first < bins.length; first += sequencesPerBatch) {
    signal.throwIfAborted()
    const sequences = bins.slice(first, first + sequencesPerBatch)
    const { nll, labelTokens } = await model.evaluate(adapter, batchOf(examples, sequences, 0))
    beat()
    sequences.flat().forEach((ordinal, document) => {
      losses.push({ id: examples[ordinal]!.id, nll: nll[document]!, labelTokens: labelTokens[document]! })
    })
  }
  return lossesByText(losses)
}
