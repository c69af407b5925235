import type { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import { JobFailure } from '../job/failure.ts'
import type { Batch, StepLoss, StepOutcome } from '../native/index.ts'
import { judge, type Patience, type Standing } from './early-stopping.ts'
import { learningRate, type Schedule } from './schedule.ts'
import { leavingOn } from './work.ts'

/** What the loop did, in order. The caller logs, streams and saves; the loop goes on when it is asked for the next fact. */
export type Fact =
  | {
      readonly kind: 'step'
      readonly step: number
      /** Mean negative log-likelihood per label token of this effective batch, in nats. */
      readonly loss: number
      readonly learningRate: number
      /** Before clipping. */
      readonly gradientNorm: number
      readonly tokens: number
      readonly labelTokens: number
      /** False: the gradient was not finite and the update was skipped. */
      readonly finite: boolean
      /** Where numbers ceased to be finite: "layer 3" or "head" in the forward pass, else a parameter by PEFT's key. */
      readonly nonFinite: string | undefined
      /** Why the GPU could not keep one of its micro-batches as a graph; such steps run as they come, and may be slower. */
      readonly notKept?: string
    }
  | {
      readonly kind: 'evaluation'
      readonly step: number
      readonly result: EvaluationResult
      readonly standing: Standing
    }
  /** The state of this step is to be sealed before the loop goes on. */
  | { readonly kind: 'checkpoint'; readonly step: number; readonly standing: Standing }
  | { readonly kind: 'finished'; readonly step: number; readonly stoppedEarly: boolean; readonly standing: Standing }

/** The arithmetic, bound to one model and adapter. */
export interface Arithmetic {
  accumulate(batch: Batch, step: number): Promise<StepLoss>
  update(step: number, rate: number, labelTokens: number): Promise<StepOutcome>
  /** Undefined when there is nothing to evaluate on. The loss that best and early stopping follow is `judgedLoss`. */
  evaluate(step: number): Promise<EvaluationResult | undefined>
}

export interface LoopOptions extends Patience {
  readonly schedule: Schedule
  /** Micro-batches of an optimizer step. */
  readonly batches: (step: number) => Iterable<Batch>
  /** 0: only with checkpoints and at the end. */
  readonly evaluateEvery: number
  /** 0: only a new best and at the end. */
  readonly checkpointEvery: number
  /** True when somebody asked for a checkpoint at the next step. */
  readonly checkpointAsked: () => boolean
  /** Where to go on: 0 and a new standing for a new run. `evaluated`: no evaluation due at that step is still to be made. */
  readonly from: { readonly step: number; readonly standing: Standing; readonly evaluated: boolean }
}

/** Non-finite steps in a row that end a run. */
export const nonFiniteLimit = 3

/** With Identity data the loss on the dataset rewards copying: human text under the denoise prompt decides instead. */
export const judgedLoss = (result: EvaluationResult): number | undefined => result.humanLoss ?? result.loss

/**
 * Trains to the last step or until the loss stops improving. An abort leaves at once, between or inside micro-batches:
 * the adapter then stands at the step of the last 'step' fact.
 */
export async function* trainLoop(
  arithmetic: Arithmetic,
  options: LoopOptions,
  signal: AbortSignal,
): AsyncGenerator<Fact, void, undefined> {
  const { schedule, from, patience } = options
  let { step, standing } = from
  let skipped = 0
  let stop = patience > 0 && standing.withoutImprovement >= patience

  const boundary = async function* (): AsyncGenerator<Fact> {
    let save = step === schedule.totalSteps || isDue(step, options.checkpointEvery)
    if (save || isDue(step, options.evaluateEvery)) {
      const result = await leavingOn(signal, arithmetic.evaluate(step))
      if (result !== undefined) {
        const judgement = judge(standing, step, judgedLoss(result) ?? Number.NaN, options)
        standing = judgement.standing
        stop = judgement.stop
        save ||= judgement.newBest || judgement.stop
        yield { kind: 'evaluation', step, result, standing }
      }
    }
    if (save || options.checkpointAsked()) yield { kind: 'checkpoint', step, standing }
  }

  if (step > 0 && !from.evaluated) yield* boundary()
  while (step < schedule.totalSteps && !stop) {
    const next = step + 1
    let nll = 0
    let labelTokens = 0
    let tokens = 0
    let nonFinite: string | undefined
    let notKept: string | undefined
    for (const batch of options.batches(next)) {
      signal.throwIfAborted()
      const part = await leavingOn(signal, arithmetic.accumulate(batch, next))
      nll += part.nll
      labelTokens += part.labelTokens
      tokens += batch.tokens.length
      nonFinite ??= part.nonFinite
      notKept ??= part.notKept
    }
    signal.throwIfAborted()
    const rate = learningRate(schedule, next)
    const outcome = await arithmetic.update(next, rate, labelTokens)
    const { gradientNorm, finite } = outcome
    nonFinite ??= outcome.nonFinite
    step = next
    const loss = nll / labelTokens
    const counted = { loss, learningRate: rate, gradientNorm, tokens, labelTokens, finite, nonFinite }
    yield { kind: 'step', step, ...counted, ...(notKept !== undefined && { notKept }) }
    signal.throwIfAborted()
    skipped = finite ? 0 : skipped + 1
    if (skipped === nonFiniteLimit)
      throw new JobFailure(
        'NonFinite',
        `the gradient was not finite in ${skipped} steps in a row, up to step ${step}${nonFinite === undefined ? '' : `, first in ${nonFinite}`}; lower training.learningRate (now ${schedule.peak}) or look at the data`,
      )
    yield* boundary()
  }
  yield { kind: 'finished', step, stoppedEarly: step < schedule.totalSteps, standing }
}

const isDue = (step: number, every: number): boolean => every > 0 && step % every === 0
