import type { AdapterReleaseSpec } from '../api/generated/adapterrelease.ts'
import { ReleaseReason } from '../api/release-reasons.ts'
import type { Adapter, Verdict } from './adapter.ts'
import { cut, gateMessageLimit } from './text.ts'

export type Gate = NonNullable<AdapterReleaseSpec['gates']>[number]
export type GateResult = NonNullable<Verdict['gates']>[number]

type Reading =
  | { readonly kind: 'measured'; readonly value: number }
  | { readonly kind: 'missing' | 'unreadable'; readonly message: string }

/** One result per gate, in order. `active` is what serves now. */
export function judge(gates: readonly Gate[], candidate: Adapter, active: Adapter | undefined): GateResult[] {
  return gates.map((gate) => {
    const { result, message } =
      gate.max === undefined ? againstOther(gate, candidate, active) : againstBound(candidate, gate.max)
    return { metric: gate.metric, enforcement: gate.enforcement, result, message: cut(message, gateMessageLimit) }
  })
}

/** Why the candidate must not serve: the gravest enforced result. Undefined: all enforced gates passed. */
export function refusal(results: readonly GateResult[]): { reason: ReleaseReason; message: string } | undefined {
  for (const [result, reason] of gravestFirst) {
    const first = results.find((each) => each.enforcement === 'Enforce' && each.result === result)
    if (first) return { reason, message: first.message }
  }
  return undefined
}

const gravestFirst = [
  ['Failed', ReleaseReason.GateFailed],
  ['Error', ReleaseReason.GateError],
  ['Inconclusive', ReleaseReason.GateInconclusive],
] as const

type Finding = Pick<GateResult, 'result' | 'message'>

function againstBound(candidate: Adapter, bound: string): Finding {
  const loss = read(candidate.metrics?.evalLoss, `evalLoss of ${candidate.name}`)
  if (loss.kind !== 'measured') return unproven(loss)
  const message = `evalLoss ${loss.value} of ${candidate.name}, expected at most ${bound}`
  return { result: loss.value <= Number(bound) ? 'Passed' : 'Failed', message }
}

function againstOther(gate: Gate, candidate: Adapter, active: Adapter | undefined): Finding {
  const other = gate.against === 'Active' ? active : undefined
  if (gate.against === 'Active' && !active)
    return { result: 'Passed', message: 'nothing is active yet, so there is nothing to regress against' }
  const loss = read(candidate.metrics?.evalLoss, `evalLoss of ${candidate.name}`)
  if (loss.kind !== 'measured') return unproven(loss)
  const theirs = other
    ? read(other.metrics?.evalLoss, `evalLoss of the active ${other.name}`)
    : read(candidate.metrics?.baselineLoss, `baseline evalLoss of ${candidate.run ?? candidate.name}`)
  if (theirs.kind !== 'measured') return unproven(theirs)
  if (other && other.metrics?.datasetDigest !== candidate.metrics?.datasetDigest)
    return {
      result: 'Inconclusive',
      message: `evalLoss of ${candidate.name} and of the active ${other.name} were measured on different datasets`,
    }
  const limit = theirs.value + Number(gate.maxRegression)
  const message = `evalLoss ${loss.value} of ${candidate.name}, expected at most ${gate.against} ${theirs.value} + ${gate.maxRegression}`
  return { result: loss.value <= limit ? 'Passed' : 'Failed', message }
}

/** Absent is missing evidence; present but no finite number is evidence that could not be read. */
function read(text: string | undefined, what: string): Reading {
  if (text === undefined) return { kind: 'missing', message: `${what} was not measured` }
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (!Number.isFinite(value)) return { kind: 'unreadable', message: `${what} is "${text}", expected a decimal` }
  return { kind: 'measured', value }
}

function unproven(reading: Exclude<Reading, { kind: 'measured' }>): Finding {
  return { result: reading.kind === 'missing' ? 'Inconclusive' : 'Error', message: reading.message }
}
