import { randomOf } from '../dataset/random.ts'

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

const resamples = 1000

export function estimateLoss(pieces: readonly DocumentLoss[], seed: number): LossEstimate {
  const documents = new Map<string, { nll: number; labelTokens: number }>()
  for (const { id, nll, labelTokens } of pieces) {
    const sum = documents.get(id) ?? { nll: 0, labelTokens: 0 }
    documents.set(id, { nll: sum.nll + nll, labelTokens: sum.labelTokens + labelTokens })
  }
  const sums = [...documents.values()]
  const labelTokens = sums.reduce((total, each) => total + each.labelTokens, 0)
  const loss = sums.reduce((total, each) => total + each.nll, 0) / labelTokens
  if (!Number.isFinite(loss)) return { loss: undefined, interval: undefined, labelTokens }
  return { loss, interval: bootstrap(sums, seed), labelTokens }
}

function bootstrap(sums: readonly { nll: number; labelTokens: number }[], seed: number): number | undefined {
  if (sums.length < 2) return undefined
  const random = randomOf(seed, 'bootstrap')
  const losses = Float64Array.from({ length: resamples }, () => {
    let nll = 0
    let labelTokens = 0
    for (let drawn = 0; drawn < sums.length; drawn++) {
      const one = sums[Math.floor(random() * sums.length)]!
      nll += one.nll
      labelTokens += one.labelTokens
    }
    return nll / labelTokens
  }).sort()
  return (losses[Math.floor(resamples * 0.975)]! - losses[Math.floor(resamples * 0.025)]!) / 2
}
