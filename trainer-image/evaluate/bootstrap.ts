import { randomOf } from '../dataset/random.ts'

/** 95 % of the resampled values lie between the two. */
export interface Interval {
  readonly low: number
  readonly high: number
}

/** A figure with its interval; undefined with fewer than two texts. */
export interface Estimate {
  readonly value: number
  readonly interval: Interval | undefined
}

/** What one text adds to a ratio of sums: a mean has weight 1, a loss per token the text's tokens. */
export interface Part {
  readonly value: number
  readonly weight: number
}

const resamples = 1000

/**
 * Percentile bootstrap over texts (Efron and Tibshirani 1993, chapter 13): texts are drawn with replacement, as many as there are,
 * and the statistic is taken of each draw. The same seed draws the same texts.
 */
export function bootstrap(
  texts: number,
  statistic: (drawn: Uint32Array) => number,
  seed: number,
): Interval | undefined {
  if (texts < 2) return undefined
  const random = randomOf(seed, 'bootstrap')
  const drawn = new Uint32Array(texts)
  const values = Float64Array.from({ length: resamples }, () => {
    for (let i = 0; i < texts; i++) drawn[i] = Math.floor(random() * texts)
    return statistic(drawn)
  }).sort()
  return { low: values[Math.floor(resamples * 0.025)]!, high: values[Math.floor(resamples * 0.975)]! }
}

/** Σ value / Σ weight with its interval; undefined when there is nothing to divide by, or the sums are not finite. */
export function ratio(parts: readonly Part[], seed: number): Estimate | undefined {
  const value = sum(parts, (part) => part.value) / sum(parts, (part) => part.weight)
  if (!Number.isFinite(value)) return undefined
  // Draws that hold no weight at all say nothing.
  const weighty = parts.filter(({ weight }) => weight > 0)
  const interval = bootstrap(
    weighty.length,
    (drawn) => {
      let total = 0
      let weights = 0
      for (const index of drawn) {
        total += weighty[index]!.value
        weights += weighty[index]!.weight
      }
      return total / weights
    },
    seed,
  )
  return { value, interval }
}

const sum = <T>(items: readonly T[], of: (item: T) => number): number =>
  items.reduce((total, item) => total + of(item), 0)
