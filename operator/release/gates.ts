import type { AdapterReleaseSpec } from '../api/generated/adapterrelease.ts'
import { ReleaseReason } from '../api/release-reasons.ts'
import type { Adapter, Verdict } from './adapter.ts'
import { difference, directionOf, type Estimate, negated, type Reading, readBaseline, readMetric } from './evidence.ts'
import { cut, gateMessageLimit, gateRuleLimit, policyLimit } from './text.ts'

export type Gate = NonNullable<AdapterReleaseSpec['gates']>[number]
export type GateResult = NonNullable<Verdict['gates']>[number]

/** One result per gate, in order. `active` is what serves now. */
export function judge(gates: readonly Gate[], candidate: Adapter, active: Adapter | undefined): GateResult[] {
  return gates.map((gate) => {
    const { result, message } =
      gate.maxRegression === undefined
        ? againstBound(gate, candidate)
        : againstOther(gate, gate.maxRegression, candidate, active)
    return {
      metric: gate.metric,
      rule: cut(ruleOf(gate), gateRuleLimit),
      enforcement: gate.enforcement,
      result,
      message: cut(message, gateMessageLimit),
    }
  })
}

export interface Objection {
  readonly result: 'Failed' | 'Error' | 'Inconclusive'
  readonly reason: ReleaseReason
  readonly message: string
}

/** The gravest that an enforced gate has against the candidate. Undefined: all enforced gates passed. */
export function objection(results: readonly GateResult[]): Objection | undefined {
  for (const [result, reason] of gravestFirst) {
    const first = results.find((each) => each.enforcement === 'Enforce' && each.result === result)
    if (first) return { result, reason, message: first.message }
  }
  return undefined
}

const gravestFirst = [
  ['Failed', ReleaseReason.GateFailed],
  ['Error', ReleaseReason.GateError],
  ['Inconclusive', ReleaseReason.GateInconclusive],
] as const

/** What the gates ask of a candidate, as a sentence. */
export function policyOf(gates: readonly Gate[]): string {
  const rules = (enforcement: Gate['enforcement']): string =>
    gates
      .filter((gate) => gate.enforcement === enforcement)
      .map(ruleOf)
      .join(', and ')
  const [enforced, watched] = [rules('Enforce'), rules('Warn')]
  const first = enforced ? `An adapter serves if ${enforced}` : 'An adapter serves without proof'
  return cut(watched ? `${first}; it is only noted whether ${watched}.` : `${first}.`, policyLimit)
}

/** The gate as people say it. */
export function ruleOf({ metric, max, min, maxRegression, against = 'Baseline' }: Gate): string {
  if (max !== undefined) return `${metric} is at most ${max}`
  if (min !== undefined) return `${metric} is at least ${min}`
  const other = against === 'Active' ? 'what serves' : 'the baseline'
  const by = Number(maxRegression)
  if (by < 0) return `${metric} is better than that of ${other} by at least ${-by}`
  return by === 0
    ? `${metric} is no worse than that of ${other}`
    : `${metric} is worse than that of ${other} by at most ${maxRegression}`
}

type Finding = Pick<GateResult, 'result' | 'message'>

function againstBound({ metric, max, min }: Gate, candidate: Adapter): Finding {
  const reading = readMetric(candidate, metric, candidate.name)
  if (reading.kind !== 'measured') return unproven(reading)
  const { estimate } = reading
  const bound = Number(max ?? min)
  const excess = max === undefined ? shifted(negated(estimate), bound) : shifted(estimate, -bound)
  return outcome(
    excess,
    `${metric} ${shown(estimate)} of ${candidate.name}, expected at ${max === undefined ? 'least' : 'most'} ${max ?? min}`,
  )
}

function againstOther(gate: Gate, allowed: string, candidate: Adapter, active: Adapter | undefined): Finding {
  const { metric, against = 'Baseline' } = gate
  const direction = directionOf(metric)
  if (!direction)
    return {
      result: 'Error',
      message: `there is no telling which way ${metric} is better; expected min or max in the place of maxRegression`,
    }
  const other = against === 'Active' ? active : undefined
  if (against === 'Active' && !active)
    return { result: 'Passed', message: 'nothing is active yet, so there is nothing to regress against' }
  const ours = readMetric(candidate, metric, candidate.name)
  if (ours.kind !== 'measured') return unproven(ours)
  const theirs = other
    ? readMetric(other, metric, `the active ${other.name}`)
    : readBaseline(candidate, metric, candidate.run ?? candidate.name)
  if (theirs.kind !== 'measured') return unproven(theirs)
  if (other && other.metrics?.datasetDigest !== candidate.metrics?.datasetDigest)
    return {
      result: 'Inconclusive',
      message: `${metric} of ${candidate.name} and of the active ${other.name} were measured on different datasets`,
    }
  const worse =
    (metric === 'evalLoss' && pairedLoss(candidate, other)) ||
    difference(...inOrder(direction, ours.estimate, theirs.estimate))
  const bound =
    direction === 'Lower'
      ? `at most ${against} ${theirs.estimate.value} + ${allowed}`
      : `at least ${against} ${theirs.estimate.value} - ${allowed}`
  return outcome(
    shifted(worse, -Number(allowed)),
    `${metric} ${ours.estimate.value} of ${candidate.name}, expected ${bound}${about(worse)}`,
  )
}

/** Worse is positive: what is subtracted from what. */
const inOrder = (direction: 'Lower' | 'Higher', ours: Estimate, theirs: Estimate): [Estimate, Estimate] =>
  direction === 'Lower' ? [ours, theirs] : [theirs, ours]

/**
 * How much worse the loss is, by the figure `improvement`, which is paired over the same texts: the interval of a loss
 * itself tells how texts differ, not adapters. The losses stay what is compared where it was not measured.
 */
function pairedLoss(candidate: Adapter, other: Adapter | undefined): Estimate | undefined {
  const ours = readMetric(candidate, 'improvement', candidate.name)
  if (ours.kind !== 'measured') return withoutInterval(candidate, other)
  if (!other) return negated(ours.estimate)
  const theirs = readMetric(other, 'improvement', other.name)
  return theirs.kind === 'measured' ? difference(theirs.estimate, ours.estimate) : withoutInterval(candidate, other)
}

function withoutInterval(candidate: Adapter, other: Adapter | undefined): Estimate | undefined {
  const theirs = Number(other ? other.metrics?.evalLoss : candidate.metrics?.baselineLoss)
  const value = Number(candidate.metrics?.evalLoss) - theirs
  return { value, low: value, high: value }
}

/** Decimals are subtracted in binary: 1.8 - 1.7 is a little more than 0.1. */
const rounding = 1e-9

/** `excess` beyond the limit: all of it at or below zero passes, all of it above fails. */
function outcome(excess: Estimate, message: string): Finding {
  if (excess.high <= rounding) return { result: 'Passed', message }
  if (excess.low > rounding) return { result: 'Failed', message }
  return { result: 'Inconclusive', message: `${message}; the 95 % interval holds the limit` }
}

const shifted = ({ value, low, high }: Estimate, by: number): Estimate => ({
  value: value + by,
  low: low + by,
  high: high + by,
})

const brief = (value: number): string => String(Number(value.toPrecision(4)))
const shown = (estimate: Estimate): string =>
  estimate.low === estimate.high
    ? String(estimate.value)
    : `${estimate.value} (${brief(estimate.low)} to ${brief(estimate.high)})`
const about = (worse: Estimate): string =>
  worse.low === worse.high ? '' : `; worse by ${brief(worse.value)} (${brief(worse.low)} to ${brief(worse.high)})`

function unproven(reading: Exclude<Reading, { kind: 'measured' }>): Finding {
  return { result: reading.kind === 'missing' ? 'Inconclusive' : 'Error', message: reading.message }
}
