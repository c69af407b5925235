import type { Estimate } from './bootstrap.ts'

/** Of the normal distribution: 95 % lie within so many standard deviations. */
const Z = 1.959964

/**
 * The proportion of yes among answers of yes or no, with Wilson's score interval (Wilson 1927; Brown, Cai and DasGupta 2001). Resampling
 * says of 2 in 2, and of 0 in 2, that there is no doubt at all; this interval narrows only as answers come in. Undefined without any.
 */
export function proportion(answers: readonly boolean[]): Estimate | undefined {
  const n = answers.length
  if (n === 0) return undefined
  const value = answers.filter(Boolean).length / n
  const scale = 1 + Z ** 2 / n
  const middle = (value + Z ** 2 / (2 * n)) / scale
  const half = (Z * Math.sqrt((value * (1 - value)) / n + Z ** 2 / (4 * n ** 2))) / scale
  // The ends are exactly 0 and 1 where no answer was yes, or none no: rounding must not put the value outside.
  const interval = {
    low: Math.min(value, Math.max(0, middle - half)),
    high: Math.max(value, Math.min(1, middle + half)),
  }
  return { value, interval }
}
