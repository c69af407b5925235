import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import { evaluateLoss } from '../evaluate/evaluate.ts'
import type { OpenedModel } from '../model/open.ts'
import { type Adapter, loadModel, type Model } from '../native/index.ts'
import { writeFileAtomic } from '../storage/atomic.ts'
import { availableMemory } from './memory.ts'
import type { EvaluationSets } from './plan.ts'
import type { Environment } from './run-config.ts'
import type { Work } from './work.ts'

/** One evaluation of the run's fixed subset; `adapter` undefined is the untouched base. */
export async function measure(
  model: Model,
  adapter: Adapter | undefined,
  { own, human }: EvaluationSets,
  step: number,
  work: Work,
): Promise<EvaluationResult> {
  const estimate = await evaluateLoss(model, adapter, own, work)
  const humanLoss = human === undefined ? estimate.loss : (await evaluateLoss(model, adapter, human, work)).loss
  return EvaluationResult.fromPartial({
    step,
    loss: estimate.loss,
    lossInterval: estimate.interval,
    humanLoss,
    labelTokens: estimate.labelTokens,
  })
}

const nameIn = (runDirectory: string): string => join(runDirectory, 'baseline.json')

/** The baseline that an earlier attempt measured. */
export async function readBaseline(runDirectory: string): Promise<EvaluationResult | undefined> {
  try {
    return EvaluationResult.fromJSON(JSON.parse(await readFile(nameIn(runDirectory), 'utf8')))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

export const writeBaseline = (runDirectory: string, baseline: EvaluationResult): Promise<void> =>
  writeFileAtomic(nameIn(runDirectory), `${JSON.stringify(EvaluationResult.toJSON(baseline), null, 2)}\n`)

/** Bytes of all weights as float32 with room for activations. */
const bytesUnquantized = ({ tensors }: OpenedModel): number =>
  1.25 * 4 * tensors.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0)

/** True when the base fits unquantised beside all that is held now. */
export const fitsUnquantized = (opened: OpenedModel, available: number = availableMemory()): boolean =>
  bytesUnquantized(opened) < available

/** What quantisation alone costs: the loss of the same subset on the base as it was stored. Loaded, measured, closed. */
export async function measureUnquantized(
  opened: OpenedModel,
  { threads, instructionPath }: Pick<Environment, 'threads' | 'instructionPath'>,
  { own }: EvaluationSets,
  work: Work,
): Promise<number | undefined> {
  const quantization = { type: 'None', blockSize: 64, doubleQuantization: false } as const
  const options = { quantization, threads, instructionPath, onProgress: work.beat }
  const model = await loadModel(opened.architecture, opened.tensors, options)
  try {
    return (await evaluateLoss(model, undefined, own, work)).loss
  } finally {
    model.close()
  }
}
