import type { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import type { MetricName } from './metrics.ts'

/** A figure with its 95 % interval, which is as wide as can be where nothing is known of it. */
export interface Figure {
  readonly value: number
  readonly low: number
  readonly high: number
}

/** Shown: all of the interval is beyond the limit. Excluded: all of it is on this side. Else open. */
export type Judged = 'shown' | 'excluded' | 'open'

/** Whether the figure is above the limit. */
export const above = ({ low, high }: Figure, limit: number): Judged =>
  low > limit ? 'shown' : high <= limit ? 'excluded' : 'open'

/** A metric of a result, without an interval one that may be anything; undefined when it was not measured. */
export function figureOf(result: Pick<EvaluationResult, 'metrics'> | undefined, name: MetricName): Figure | undefined {
  const found = result?.metrics.find((metric) => metric.name === name)
  if (found === undefined) return undefined
  const { value, low = Number.NEGATIVE_INFINITY, high = Number.POSITIVE_INFINITY } = found
  return { value, low, high }
}

/** a − b as of independent figures: the half widths add in quadrature. Those of the same texts agree more than that. */
export const minus = (a: Figure, b: Figure): Figure => ({
  value: a.value - b.value,
  low: a.value - b.value - Math.hypot(a.value - a.low, b.high - b.value),
  high: a.value - b.value + Math.hypot(a.high - a.value, b.value - b.low),
})

/** More texts than anybody will write tell as little as none. */
const MOST_TEXTS = 10_000

/**
 * How many texts would tell on which side of the limit the figure is, if it stays what it is: an interval narrows with the square
 * root of their number. Undefined where no number that can be had would.
 */
export function textsToTell({ value, low, high }: Figure, limit: number, texts: number): number | undefined {
  const reach = value > limit ? value - low : high - value
  const needed = Math.max(texts + 1, texts * (reach / Math.abs(value - limit)) ** 2)
  return needed <= MOST_TEXTS ? twoDigits(needed) : undefined
}

/** Up to the next number of two digits and zeros: more would pretend to be exact. */
function twoDigits(count: number): number {
  const unit = 10 ** Math.max(0, Math.ceil(Math.log10(count)) - 2)
  return Math.ceil(count / unit) * unit
}

export const percent = (share: number): string => `${(100 * share).toFixed(0)} %`

const finite = ({ low, high }: Figure): boolean => Number.isFinite(low) && Number.isFinite(high)

/** A share in words, such as "50 % (95 % interval 9 to 91 %)". */
export const shareInWords = (figure: Figure): string =>
  finite(figure)
    ? `${percent(figure.value)} (95 % interval ${(100 * figure.low).toFixed(0)} to ${percent(figure.high)})`
    : percent(figure.value)

/** A figure in words with so many digits behind the point. */
export const inWords = (figure: Figure, unit: string, digits: number): string =>
  `${figure.value.toFixed(digits)} ${unit}${
    finite(figure) ? ` (95 % interval ${figure.low.toFixed(digits)} to ${figure.high.toFixed(digits)})` : ''
  }`
