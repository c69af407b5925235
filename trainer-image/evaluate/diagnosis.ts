import type { Diagnosis, EvaluationResult, Finding } from '#proto/humanizer/trainer/v1/run.ts'
import type { MetricName } from './metrics.ts'

export type Verdict = 'Healthy' | 'Overfitting' | 'Underfitting' | 'CopyCollapse' | 'Unknown'

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
  readonly sameAsBase: number | undefined
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
const COPIES = 0.5
const SAME_AS_BASE = 0.9

/** The documented mitigations of each failure. */
const mitigations: Readonly<Record<'Overfitting' | 'Underfitting' | 'CopyCollapse', readonly string[]>> = {
  Overfitting: [
    'release the best checkpoint, not the newest; earlyStopping.patience ends a run there',
    'train fewer epochs (2 at most at first)',
    'raise lora.dropout',
    'add text from more and other sources',
  ],
  Underfitting: [
    'raise training.epochs to 3',
    'raise lora.rank to 64',
    'raise training.learningRate to 2e-4',
    'add more training text',
  ],
  CopyCollapse: [
    'prepare the dataset with format.sample Denoise or Paired: with Identity copying is the optimum',
    'do not release: a copy keeps everything and humanises nothing',
  ],
}

/** What became of a run, with the evidence of every finding. Pure; the gravest finding gives the verdict. */
export function diagnose(evidence: Evidence): Diagnosis {
  const { baseline, best, sameAsBase } = evidence
  const lossless = baseline?.loss === undefined || best?.loss === undefined
  const findings = [...copyFindings(evidence), ...overfittingFindings(evidence), ...underfittingFindings(evidence)]
  const [gravest] = findings
  if (gravest !== undefined) {
    const verdict = gravest.verdict as keyof typeof mitigations
    return { verdict, findings, advice: [...mitigations[verdict]] }
  }
  if (lossless) return unknown('the held-out loss of the base or of the best checkpoint was not measured')
  if (sameAsBase === undefined)
    return unknown('no outputs were measured, and the loss alone does not see copying or repetition')
  const says = `held-out loss fell by ${gainOf(best)}, and the outputs are neither copies, nor repetitive, nor those of the base`
  return { verdict: 'Healthy', findings: [{ verdict: 'Healthy', evidence: says }], advice: [] }
}

const unknown = (evidence: string): Diagnosis => ({
  verdict: 'Unknown',
  findings: [{ verdict: 'Unknown', evidence }],
  advice: [],
})

const metric = (result: Pick<EvaluationResult, 'metrics'> | undefined, name: MetricName) =>
  result?.metrics.find((each) => each.name === name)
const percent = (share: number): string => `${(100 * share).toFixed(0)} %`

function gainOf(best: EvaluationResult | undefined): string {
  const gain = improvementOf(best)
  if (gain === undefined) return 'an unknown amount'
  const { value, low, high } = gain
  const interval =
    low === undefined || high === undefined ? '' : ` (95 % interval ${low.toFixed(4)} to ${high.toFixed(4)})`
  return `${value.toFixed(4)} nats per token${interval}`
}

/** Of the loss that decides which checkpoint is the best. */
const improvementOf = (result: EvaluationResult | undefined) =>
  metric(result, 'humanImprovement') ?? metric(result, 'improvement')

function copyFindings({ baseline, best, human }: Evidence): Finding[] {
  const copies = metric(best, 'copyRate')?.value
  if (copies === undefined || copies < COPIES) return []
  const of = (result: Pick<EvaluationResult, 'metrics'> | undefined): string => {
    const value = metric(result, 'copyRate')?.value
    return value === undefined ? 'not measured' : percent(value)
  }
  const evidence = `${percent(copies)} of the outputs are nearly equal to their input (base ${of(baseline)}, human ${of(human)}, the copy itself 100 %)`
  return [{ verdict: 'CopyCollapse', evidence }]
}

function overfittingFindings(evidence: Evidence): Finding[] {
  const found = [risingLoss(evidence), repetitive(evidence), verbose(evidence), ...memorising(evidence)]
  return found.flatMap((says) => (says === undefined ? [] : [{ verdict: 'Overfitting', evidence: says }]))
}

/** The classic sign: held-out loss up from its lowest while training loss goes down. */
function risingLoss({ history, baseline }: Evidence): string | undefined {
  const held = history.flatMap(({ step, eval_loss, eval_human_loss }) => {
    const loss = eval_human_loss ?? eval_loss
    return loss === undefined ? [] : [{ step, loss }]
  })
  const last = held.at(-1)
  if (last === undefined) return undefined
  const lowest = held.reduce((low, each) => (each.loss < low.loss ? each : low))
  const gained = (baseline?.humanLoss ?? baseline?.loss ?? Number.NaN) - lowest.loss
  const rises = ({ step, loss }: (typeof held)[number]): boolean =>
    step > lowest.step && (loss > lowest.loss * (1 + RISE) || (gained > 0 && loss > lowest.loss + GAIN_LOST * gained))
  // Two in a row where there are two: one evaluation may be an accident.
  if (
    !held
      .filter(({ step }) => step > lowest.step)
      .slice(-2)
      .every(rises) ||
    !rises(last)
  )
    return undefined
  const training = history.flatMap(({ step, loss }) => (loss === undefined ? [] : [{ step, loss }]))
  const before = meanLoss(training.filter(({ step }) => step <= lowest.step))
  const after = meanLoss(training.filter(({ step }) => step > lowest.step))
  if (before === undefined || after === undefined || after >= before) return undefined
  return (
    `held-out loss rose from ${lowest.loss.toFixed(4)} at step ${lowest.step} to ${last.loss.toFixed(4)} at step ${last.step}, ` +
    `while the training loss fell from ${before.toFixed(4)} on average to ${after.toFixed(4)}`
  )
}

const meanLoss = (entries: readonly { readonly loss: number }[]): number | undefined =>
  entries.length === 0 ? undefined : entries.reduce((sum, { loss }) => sum + loss, 0) / entries.length

function repetitive({ baseline, newest, human }: Evidence): string | undefined {
  const [now, base, people] = [newest, baseline, human].map((result) => metric(result, 'repetition4')?.value)
  if (now === undefined || people === undefined || now <= people + REPETITION || now <= (base ?? 0)) return undefined
  return `${percent(now)} of the 4-grams of the newest checkpoint's outputs are repeated (base ${base === undefined ? 'not measured' : percent(base)}, human ${percent(people)})`
}

function verbose({ baseline, newest }: Evidence): string | undefined {
  const [now, base] = [newest, baseline].map((result) => metric(result, 'lengthRatio')?.value)
  if (now === undefined || now <= VERBOSE || now <= VERBOSE_OVER_BASE * (base ?? 0)) return undefined
  return `the newest checkpoint writes ${now.toFixed(2)} words for one of the input (base ${base?.toFixed(2) ?? 'not measured'})`
}

function memorising({ baseline, newest }: Evidence): (string | undefined)[] {
  const worse = (name: MetricName, says: string): string | undefined => {
    const [now, base] = [newest, baseline].map((result) => metric(result, name)?.value)
    if (now === undefined || now < MEMORISED || now <= (base ?? 0)) return undefined
    return `${percent(now)} of ${says} (base ${base === undefined ? 'not measured' : percent(base)})`
  }
  return [
    worse('memorised', "the newest checkpoint's outputs share 50 tokens in a row with a training text"),
    worse('extracted', 'the training texts come out word for word when their beginning is given'),
  ]
}

function underfittingFindings({ baseline, best, sameAsBase }: Evidence): Finding[] {
  const findings: string[] = []
  const gain = improvementOf(best)
  const before = baseline?.humanLoss ?? baseline?.loss
  if (gain !== undefined && before !== undefined && ((gain.low ?? gain.value) <= 0 || gain.value < REAL_GAIN * before))
    findings.push(`no real gain over the baseline: held-out loss fell by ${gainOf(best)} from ${before.toFixed(4)}`)
  if (sameAsBase !== undefined && sameAsBase >= SAME_AS_BASE)
    findings.push(`${percent(sameAsBase)} of the best checkpoint's outputs are those of the base`)
  return findings.map((evidence) => ({ verdict: 'Underfitting', evidence }))
}
