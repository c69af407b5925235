import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import { evaluateLoss } from '../evaluate/evaluate.ts'
import { type DocumentLoss, estimateLoss, pairedImprovement, perplexityOf } from '../evaluate/loss.ts'
import { metricOf } from '../evaluate/metrics.ts'
import { failureOf } from '../job/failure.ts'
import type { OpenedModel } from '../model/open.ts'
import { type Adapter, loadModel, type Model } from '../native/index.ts'
import { writeFileAtomic } from '../storage/atomic.ts'
import type { EvaluationSets } from './plan.ts'
import type { Environment } from './run-config.ts'
import type { Work } from './work.ts'

/** What was measured at one step: the figures, and the losses of the single texts that they are made of. */
export interface Measured {
  readonly result: EvaluationResult
  readonly own: readonly DocumentLoss[]
  /** Empty when the dataset is Denoise itself. */
  readonly human: readonly DocumentLoss[]
}

/** One evaluation of the run's fixed subset; `adapter` undefined is the untouched base, which `baseline` holds otherwise. */
export async function measure(
  model: Model,
  adapter: Adapter | undefined,
  sets: EvaluationSets,
  step: number,
  baseline: Measured | undefined,
  work: Work,
): Promise<Measured> {
  const own = await evaluateLoss(model, adapter, sets.own, work)
  const human = sets.human === undefined ? [] : await evaluateLoss(model, adapter, sets.human, work)
  const { seed } = sets.own
  const estimate = estimateLoss(own, seed)
  const { loss, interval, labelTokens } = estimate
  const metrics = [
    metricOf('perplexity', perplexityOf(estimate)),
    metricOf('improvement', baseline && pairedImprovement(baseline.own, own, seed)),
    metricOf('humanImprovement', baseline && pairedImprovement(baseline.human, human, seed)),
  ].flat()
  return {
    result: EvaluationResult.fromPartial({
      step,
      loss,
      lossInterval: interval,
      humanLoss: sets.human === undefined ? loss : estimateLoss(human, seed).loss,
      labelTokens,
      metrics,
    }),
    own,
    human,
  }
}

const nameIn = (runDirectory: string): string => join(runDirectory, 'baseline.json')

/** The baseline that an earlier attempt measured; one of an older version has no losses of single texts. */
export async function readBaseline(runDirectory: string): Promise<Measured | undefined> {
  let text: string
  try {
    text = await readFile(nameIn(runDirectory), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const { texts, ...result } = JSON.parse(text) as { texts?: Pick<Measured, 'own' | 'human'> }
  return { result: EvaluationResult.fromJSON(result), own: texts?.own ?? [], human: texts?.human ?? [] }
}

export const writeBaseline = (runDirectory: string, { result, own, human }: Measured): Promise<void> =>
  writeFileAtomic(
    nameIn(runDirectory),
    `${JSON.stringify({ ...(EvaluationResult.toJSON(result) as object), texts: { own, human } }, null, 2)}\n`,
  )

/** Where the unquantised base would be held: on the GPU that computes, or beside everything else in the processor's memory. */
export interface Room {
  readonly freeBytes: number
  readonly bytesPerWeight: 2 | 4
}

/** True when the base fits unquantised, with a quarter for activations. */
export const fitsUnquantized = (
  { tensors }: Pick<OpenedModel, 'tensors'>,
  { freeBytes, bytesPerWeight }: Room,
): boolean =>
  1.25 *
    bytesPerWeight *
    tensors.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0) <
  freeBytes

/**
 * What quantisation alone costs: the loss of the same subset on the base as it was stored. Loaded, measured, closed. Undefined when the memory
 * is not enough after all: a run does not fail for a figure that it can do without.
 */
export async function measureUnquantized(
  opened: Pick<OpenedModel, 'architecture' | 'tensors'>,
  { threads, instructionPath }: Pick<Environment, 'threads' | 'instructionPath'>,
  { own }: EvaluationSets,
  work: Work,
  load = loadModel,
): Promise<number | undefined> {
  const quantization = { type: 'None', blockSize: 64, doubleQuantization: false } as const
  const options = { quantization, threads, instructionPath, onProgress: work.beat }
  try {
    const model = await load(opened.architecture, opened.tensors, options)
    try {
      return estimateLoss(await evaluateLoss(model, undefined, own, work), own.seed).loss
    } finally {
      model.close()
    }
  } catch (error) {
    if (failureOf(error).reason === 'DeviceOutOfMemory') return undefined
    throw error
  }
}
