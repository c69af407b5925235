/*
 * What is looked for in a finished run. Each check answers with what it found, and whether the evidence shows it or leaves it open;
 * with nothing where it is excluded.
 */
import type { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import {
  above,
  type Figure,
  figureOf,
  inWords,
  type Judged,
  minus,
  percent,
  shareInWords,
  textsToTell,
} from './judgement.ts'
import type { MetricName } from './metrics.ts'

export type Failure = 'CopyCollapse' | 'Overfitting' | 'Underfitting'

/** One entry of a run's history: a training loss or a held-out one. */
export interface HistoryEntry {
  readonly step: number
  readonly loss?: number
  readonly eval_loss?: number
  readonly eval_human_loss?: number
}

/** All that a verdict is founded on. */
export interface Evidence {
  readonly history: readonly HistoryEntry[]
  readonly baseline: EvaluationResult | undefined
  readonly best: EvaluationResult | undefined
  readonly newest: EvaluationResult | undefined
  /** What people wrote for the same inputs. */
  readonly human: Pick<EvaluationResult, 'metrics'>
  /** Share of the samples for which the best checkpoint writes what the base writes; undefined when nothing was written. */
  readonly sameAsBase: Figure | undefined
  /** Texts that were written for, training texts whose beginning was given, and held-out texts whose loss was measured. */
  readonly texts: Readonly<Record<'written' | 'begun' | 'heldOut', number>>
}

/** What one check found. */
export interface Found {
  readonly failure: Failure
  readonly judged: Exclude<Judged, 'excluded'>
  readonly says: string
  /** Which kind of text there is too little of, and how much would do; undefined where no amount would. */
  readonly wants?: { readonly of: keyof Evidence['texts']; readonly texts: number | undefined }
}

/** Held-out loss has risen when it is above its lowest by this share of it, or has lost this share of what it gained on the base. */
const RISE = 0.02
const GAIN_LOST = 0.25
/** An improvement below this share of the baseline's loss is none that a reader would see. */
const REAL_GAIN = 0.01
/** How far repetition may be above that of people, as a share of 4-grams. */
const REPETITION = 0.05
/** Words of output for one of input: above this, and this many times the base's, it is verbose. */
const VERBOSE = 1.5
const VERBOSE_OVER_BASE = 1.2
/** Share of outputs or training texts from which on copying the training set is no accident. */
const MEMORISED = 0.02
export const COPIES = 0.5
/** Low enough that the 16 texts of a CPU, all of them the base's, show it: Wilson's interval of 16 in 16 begins at 0.806. */
const SAME_AS_BASE = 0.8
/** Fewer texts than this prove nothing about outputs, whatever they are. */
export const FEWEST_TEXTS = 8
/** Enough to see what is gross. */
export const ENOUGH_TEXTS = 16

/** The gravest failure first; of each what is shown before what is open. */
export function findingsOf(evidence: Evidence): Found[] {
  const all = [
    copies(evidence),
    risingLoss(evidence),
    repetitive(evidence),
    verbose(evidence),
    ...memorising(evidence),
    noGain(evidence),
    likeBase(evidence),
  ]
  return all.filter((found) => found !== undefined)
}

/** Of the loss that decides which checkpoint is the best. */
export const improvementOf = (result: EvaluationResult | undefined): Figure | undefined =>
  figureOf(result, 'humanImprovement') ?? figureOf(result, 'improvement')

export const gainInWords = (gain: Figure): string => inWords(gain, 'nats per token', 4)

interface Check {
  readonly failure: Failure
  readonly figure: Figure | undefined
  /** Above it the figure is bad. */
  readonly limit: number
  /** Of the base: what training did not make worse is not its doing. */
  readonly base?: number | undefined
  readonly of?: 'written' | 'begun'
  readonly says: (figure: Figure) => string
}

/** A check of what was written. Too few texts leave open whatever they say. */
function written(
  { texts }: Evidence,
  { failure, figure, limit, base, of = 'written', says }: Check,
): Found | undefined {
  if (figure === undefined || (base !== undefined && figure.value <= base)) return undefined
  const few = texts[of] < FEWEST_TEXTS
  const judged = few ? (figure.value > limit ? 'open' : 'excluded') : above(figure, limit)
  if (judged === 'excluded') return undefined
  if (judged === 'shown' || few) return { failure, judged, says: says(figure) }
  return { failure, judged, says: says(figure), wants: { of, texts: textsToTell(figure, limit, texts[of]) } }
}

const baseAndHuman = ({ baseline, human }: Evidence, name: MetricName): string => {
  const of = (result: Pick<EvaluationResult, 'metrics'> | undefined): string => {
    const value = figureOf(result, name)?.value
    return value === undefined ? 'not measured' : percent(value)
  }
  return `base ${of(baseline)}, human ${of(human)}`
}

function copies(evidence: Evidence): Found | undefined {
  return written(evidence, {
    failure: 'CopyCollapse',
    figure: figureOf(evidence.best, 'copyRate'),
    limit: COPIES,
    says: (figure) =>
      `${shareInWords(figure)} of the best checkpoint's outputs are nearly equal to their input (${baseAndHuman(evidence, 'copyRate')}, the copy itself 100 %)`,
  })
}

/** The classic sign: held-out loss up from its lowest while training loss goes down. */
function risingLoss({ history, baseline, best, newest, texts }: Evidence): Found | undefined {
  const held = history.flatMap(({ step, eval_loss, eval_human_loss }) => {
    const loss = eval_human_loss ?? eval_loss
    return loss === undefined ? [] : [{ step, loss }]
  })
  const last = held.at(-1)
  if (last === undefined) return undefined
  const lowest = held.reduce((low, each) => (each.loss < low.loss ? each : low))
  const gained = (baseline?.humanLoss ?? baseline?.loss ?? Number.NaN) - lowest.loss
  const limit = Math.min(lowest.loss * RISE, gained > 0 ? GAIN_LOST * gained : Number.POSITIVE_INFINITY)
  // Two in a row where there are two: one evaluation may be an accident.
  const later = held.filter(({ step }) => step > lowest.step).slice(-2)
  if (later.length === 0 || !later.every(({ loss }) => loss > lowest.loss + limit)) return undefined
  const training = history.flatMap(({ step, loss }) => (loss === undefined ? [] : [{ step, loss }]))
  const before = meanLoss(training.filter(({ step }) => step <= lowest.step))
  const after = meanLoss(training.filter(({ step }) => step > lowest.step))
  if (before === undefined || after === undefined || after >= before) return undefined
  const says =
    `held-out loss rose from ${lowest.loss.toFixed(4)} at step ${lowest.step} to ${last.loss.toFixed(4)} at step ${last.step}, ` +
    `while the training loss fell from ${before.toFixed(4)} on average to ${after.toFixed(4)}`
  const [most, now] = [improvementOf(best), improvementOf(newest)]
  const rise = most && now && minus(most, now)
  if (rise === undefined || rise.low > 0) return { failure: 'Overfitting', judged: 'shown', says }
  const wants = { of: 'heldOut', texts: textsToTell(rise, 0, texts.heldOut) } as const
  return { failure: 'Overfitting', judged: 'open', says: `${says}; it rose by ${gainInWords(rise)}`, wants }
}

const meanLoss = (entries: readonly { readonly loss: number }[]): number | undefined =>
  entries.length === 0 ? undefined : entries.reduce((sum, { loss }) => sum + loss, 0) / entries.length

function repetitive(evidence: Evidence): Found | undefined {
  const [base, people] = [evidence.baseline, evidence.human].map((result) => figureOf(result, 'repetition4')?.value)
  if (people === undefined) return undefined
  return written(evidence, {
    failure: 'Overfitting',
    figure: figureOf(evidence.newest, 'repetition4'),
    limit: people + REPETITION,
    base,
    says: (figure) =>
      `${shareInWords(figure)} of the 4-grams of the newest checkpoint's outputs are repeated (${baseAndHuman(evidence, 'repetition4')})`,
  })
}

function verbose(evidence: Evidence): Found | undefined {
  const base = figureOf(evidence.baseline, 'lengthRatio')?.value
  return written(evidence, {
    failure: 'Overfitting',
    figure: figureOf(evidence.newest, 'lengthRatio'),
    limit: Math.max(VERBOSE, VERBOSE_OVER_BASE * (base ?? 0)),
    base,
    says: (figure) =>
      `the newest checkpoint writes ${inWords(figure, 'words for one of the input', 2)}; the base ${base?.toFixed(2) ?? 'was not measured'}`,
  })
}

function memorising(evidence: Evidence): (Found | undefined)[] {
  const worse = (name: MetricName, of: 'written' | 'begun', says: string): Found | undefined => {
    const base = figureOf(evidence.baseline, name)?.value
    return written(evidence, {
      failure: 'Overfitting',
      figure: figureOf(evidence.newest, name),
      limit: MEMORISED,
      // So rare a thing is not excluded by a few texts: only what was seen is worth a word.
      base: base ?? 0,
      of,
      says: (figure) =>
        `${shareInWords(figure)} of ${says} (base ${base === undefined ? 'not measured' : percent(base)})`,
    })
  }
  return [
    worse('memorised', 'written', "the newest checkpoint's outputs share 50 tokens in a row with a training text"),
    worse('extracted', 'begun', 'the training texts come out word for word when their beginning is given'),
  ]
}

function noGain({ baseline, best, texts }: Evidence): Found | undefined {
  const gain = improvementOf(best)
  const before = baseline?.humanLoss ?? baseline?.loss
  if (gain === undefined || before === undefined) return undefined
  const real = REAL_GAIN * before
  if (gain.low > 0 && gain.value >= real) return undefined
  const judged = gain.high < real ? 'shown' : 'open'
  const change =
    gain.value < 0
      ? `rose by ${gainInWords({ value: -gain.value, low: -gain.high, high: -gain.low })}`
      : `fell by ${gainInWords(gain)}`
  const says = `${judged === 'shown' ? 'no' : 'perhaps no'} real gain over the baseline: held-out loss ${change} from ${before.toFixed(4)}`
  if (judged === 'shown') return { failure: 'Underfitting', judged, says }
  const limit = gain.value >= real ? 0 : real
  return {
    failure: 'Underfitting',
    judged,
    says,
    wants: { of: 'heldOut', texts: textsToTell(gain, limit, texts.heldOut) },
  }
}

function likeBase(evidence: Evidence): Found | undefined {
  return written(evidence, {
    failure: 'Underfitting',
    figure: evidence.sameAsBase,
    limit: SAME_AS_BASE,
    says: (figure) => `${shareInWords(figure)} of the best checkpoint's outputs are those of the base`,
  })
}
