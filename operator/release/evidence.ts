import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { metricDirections } from '../api/metrics.ts'
import type { Adapter } from './adapter.ts'

type Metrics = NonNullable<Adapter['metrics']>
type Figure = NonNullable<Metrics['figures']>[number]
type RunStatus = NonNullable<QLoRARun['status']>
export type Checkpoint = NonNullable<RunStatus['checkpoints']>[number]

/** A figure as a run's status lists it. */
interface Listed {
  readonly name: string
  readonly value: string
  readonly low?: string
  readonly high?: string
}
interface WithMetrics {
  readonly metrics?: readonly Listed[]
}

/** What a run says of one of its checkpoints and of the untouched base: all that gates can ask for. */
export function metricsOf({ status }: QLoRARun, checkpoint: Checkpoint & WithMetrics): Metrics {
  const baseline = status?.baseline as (RunStatus['baseline'] & WithMetrics) | undefined
  const figures = figuresOf(
    [...humanLoss(checkpoint), ...(checkpoint.metrics ?? [])],
    [...humanLoss(baseline), ...(baseline?.metrics ?? [])],
  )
  return {
    ...(checkpoint.evalLoss !== undefined && { evalLoss: checkpoint.evalLoss }),
    ...(checkpoint.evalLossInterval !== undefined && { evalLossInterval: checkpoint.evalLossInterval }),
    ...(baseline?.loss !== undefined && { baselineLoss: baseline.loss }),
    ...(status?.datasetDigest !== undefined && { datasetDigest: status.datasetDigest }),
    ...(figures.length > 0 && { figures }),
  }
}

const humanLoss = (of: { readonly humanLoss?: string } | undefined): Listed[] =>
  of?.humanLoss === undefined ? [] : [{ name: 'humanLoss', value: of.humanLoss }]

function figuresOf(adapter: readonly Listed[], base: readonly Listed[]): Figure[] {
  const names = [...new Set([...adapter, ...base].map(({ name }) => name))]
  return names.map((name) => {
    const ours = adapter.find((each) => each.name === name)
    const theirs = base.find((each) => each.name === name)
    return {
      name,
      ...(ours && { value: ours.value, ...ends(ours.low, ours.high, 'low', 'high') }),
      ...(theirs && { baseline: theirs.value, ...ends(theirs.low, theirs.high, 'baselineLow', 'baselineHigh') }),
    }
  })
}

const ends = (low: string | undefined, high: string | undefined, lowName: string, highName: string) =>
  low === undefined || high === undefined ? {} : { [lowName]: low, [highName]: high }

/** A value with its 95 % interval; without one, low and high are the value. */
export interface Estimate {
  readonly value: number
  readonly low: number
  readonly high: number
}

/** Absent is missing evidence; present but no finite number is evidence that could not be read. */
export type Reading =
  | { readonly kind: 'measured'; readonly estimate: Estimate }
  | { readonly kind: 'missing' | 'unreadable'; readonly message: string }

const directions: Readonly<Record<string, 'Lower' | 'Higher' | 'None'>> = {
  ...metricDirections,
  evalLoss: 'Lower',
  humanLoss: 'Lower',
}

/** Which way a metric is better; undefined: there is no telling. */
export function directionOf(metric: string): 'Lower' | 'Higher' | undefined {
  const direction = Object.hasOwn(directions, metric) ? directions[metric] : undefined
  return direction === 'None' ? undefined : direction
}

/** A metric of an adapter. `whose` is how the message calls it. */
export function readMetric({ metrics }: Adapter, metric: string, whose: string): Reading {
  const what = `${metric} of ${whose}`
  if (metric === 'evalLoss') return readWithHalfWidth(metrics?.evalLoss, metrics?.evalLossInterval, what)
  const figure = metrics?.figures?.find(({ name }) => name === metric)
  if (!figure && !Object.hasOwn(directions, metric)) {
    const message = `${what} was not measured: no run measures ${metric}, expected evalLoss, humanLoss or a name of status.checkpoints[].metrics of a run`
    return { kind: 'missing', message }
  }
  return read(figure?.value, figure?.low, figure?.high, what)
}

/** The same metric of the untouched base, as the adapter's run measured it. */
export function readBaseline({ metrics }: Adapter, metric: string, whose: string): Reading {
  const what = `baseline ${metric} of ${whose}`
  if (metric === 'evalLoss') return read(metrics?.baselineLoss, undefined, undefined, what)
  const figure = metrics?.figures?.find(({ name }) => name === metric)
  return read(figure?.baseline, figure?.baselineLow, figure?.baselineHigh, what)
}

function readWithHalfWidth(value: string | undefined, half: string | undefined, what: string): Reading {
  const reading = read(value, undefined, undefined, what)
  if (reading.kind !== 'measured' || half === undefined) return reading
  const width = numberOf(half)
  if (width === undefined)
    return { kind: 'unreadable', message: `the interval of ${what} is "${half}", expected a decimal` }
  const { value: middle } = reading.estimate
  return { kind: 'measured', estimate: { value: middle, low: middle - width, high: middle + width } }
}

function read(text: string | undefined, low: string | undefined, high: string | undefined, what: string): Reading {
  if (text === undefined) return { kind: 'missing', message: `${what} was not measured` }
  const value = numberOf(text)
  if (value === undefined) return { kind: 'unreadable', message: `${what} is "${text}", expected a decimal` }
  const [lower, upper] = [low === undefined ? value : numberOf(low), high === undefined ? value : numberOf(high)]
  if (lower === undefined || upper === undefined || lower > value || upper < value)
    return {
      kind: 'unreadable',
      message: `the interval of ${what} is "${low}" to "${high}", expected decimals around ${text}`,
    }
  return { kind: 'measured', estimate: { value, low: lower, high: upper } }
}

/** Undefined for what is no finite number. */
function numberOf(text: string): number | undefined {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  return Number.isFinite(value) ? value : undefined
}

/**
 * a − b of independent figures: the half widths add in quadrature, each on its own side. Figures of the same texts are
 * correlated, so the true interval is no wider.
 */
export function difference(a: Estimate, b: Estimate): Estimate {
  const value = a.value - b.value
  return {
    value,
    low: value - Math.hypot(a.value - a.low, b.high - b.value),
    high: value + Math.hypot(a.high - a.value, b.value - b.low),
  }
}

export const negated = ({ value, low, high }: Estimate): Estimate => ({ value: -value, low: -high, high: -low })
