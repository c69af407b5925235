import { type Estimate, ratio } from './bootstrap.ts'

/** Summed negative log-likelihood (nats) over the labels of one document. */
export interface DocumentLoss {
  /** Pieces of one text share it; they are resampled together. */
  readonly id: string
  readonly nll: number
  readonly labelTokens: number
}

export interface LossEstimate {
  /** ΣNLL / Σlabels: nats per label token; undefined without labels or when not finite. */
  readonly loss: number | undefined
  /** Half width of the 95 % interval by bootstrap over documents; undefined with fewer than two documents. */
  readonly interval: number | undefined
  readonly labelTokens: number
}

/** One entry for each text: the sums of its pieces, in the order in which the texts first come. */
export function lossesByText(pieces: readonly DocumentLoss[]): DocumentLoss[] {
  const texts = new Map<string, DocumentLoss>()
  for (const { id, nll, labelTokens } of pieces) {
    const before = texts.get(id) ?? { nll: 0, labelTokens: 0 }
    texts.set(id, { id, nll: before.nll + nll, labelTokens: before.labelTokens + labelTokens })
  }
  return [...texts.values()]
}

export function estimateLoss(texts: readonly DocumentLoss[], seed: number): LossEstimate {
  const labelTokens = texts.reduce((total, each) => total + each.labelTokens, 0)
  const estimate = ratio(
    texts.map(({ nll, labelTokens }) => ({ value: nll, weight: labelTokens })),
    seed,
  )
  const { low, high } = estimate?.interval ?? {}
  const interval = low === undefined || high === undefined ? undefined : (high - low) / 2
  return { loss: estimate?.value, interval, labelTokens }
}

/** e to the loss (Jelinek et al. 1977). exp is monotone: the ends of its interval are those of the loss's. */
export function perplexityOf({ loss, interval: half }: LossEstimate): Estimate | undefined {
  if (loss === undefined) return undefined
  return {
    value: Math.exp(loss),
    interval: half === undefined ? undefined : { low: Math.exp(loss - half), high: Math.exp(loss + half) },
  }
}

/**
 * Loss before minus loss after, per label token, with an interval of its own: a text is drawn with both its losses (paired
 * bootstrap), so what makes texts hard or easy alike for both does not widen it. Undefined unless both measured the same texts.
 */
export function pairedImprovement(
  before: readonly DocumentLoss[],
  after: readonly DocumentLoss[],
  seed: number,
): Estimate | undefined {
  const then = new Map(before.map((text) => [text.id, text]))
  if (then.size !== after.length) return undefined
  const parts = after.flatMap(({ id, nll, labelTokens }) => {
    const text = then.get(id)
    return text?.labelTokens === labelTokens ? [{ value: text.nll - nll, weight: labelTokens }] : []
  })
  return parts.length === after.length ? ratio(parts, seed) : undefined
}
