import type { Logger } from 'pino'
import type { DataUse } from '#proto/humanizer/trainer/v1/run.ts'
import { corrupt } from '../dataset/denoise.ts'
import type { Settings } from '../evaluate/advice.ts'
import type { EvaluationSet } from '../evaluate/evaluate.ts'
import { chooseContinuations, chooseSamples, defaultSamples } from '../evaluate/samples.ts'
import type { Questions } from '../evaluate/subject.ts'
import { defaultMaxLabelTokens, evaluationSubset } from '../evaluate/subset.ts'
import { JobFailure } from '../job/failure.ts'
import type { backendOf } from '../model/compute-dtype.ts'
import type { OpenedModel } from '../model/open.ts'
import type { Batch } from '../native/index.ts'
import { binsInOrder, microBatches } from './batches.ts'
import type { CheckedConfig } from './configuration.ts'
import { type Dataset, type Row, readMachineTexts, readRows } from './dataset.ts'
import type { Codec, Example } from './example.ts'
import { type Examples, makeExamples } from './examples.ts'
import { type Bin, packBins, packingEfficiency, StepOrder, singleBins } from './packing.ts'
import type { Lengths } from './pass-shape.ts'
import { type Schedule, schedule } from './schedule.ts'
import { type Tokenized, type TokenizedKey, tokenizedOnce, tokenizerDigest } from './tokenized.ts'
import { untrainedTokens } from './untrained.ts'
import type { Work } from './work.ts'

/** All that a run will do, fixed before its first step by (dataset, configuration, seed). */
export interface Plan {
  readonly schedule: Schedule
  readonly batches: (step: number) => Iterable<Batch>
  /** Mean number of texts in one optimizer step. */
  readonly examplesPerStep: number
  readonly evaluation: EvaluationSets | undefined
  /** What the base and the finished adapters are asked to write. */
  readonly questions: Questions
  /** What the settings came to, for advice. */
  readonly asked: Pick<Settings, 'sample' | 'samples' | 'maxTokens' | 'trainPercent'>
  /** Of training and evaluation, for the plan of memory. */
  readonly lengths: Lengths
  readonly data: DataUse
  readonly warnings: readonly string[]
}

export interface EvaluationSets {
  readonly own: EvaluationSet
  /** Held-out human text under the denoise prompt; absent when the dataset is Denoise itself. */
  readonly human: EvaluationSet | undefined
}

/** Share of dropped text above which a person should know. */
const droppedWarning = 0.05

/** What a run has from its start, whatever its later attempts run on. */
interface Begun {
  readonly templateDate: string
  /** What its evaluations may cost unless the configuration says so. */
  readonly backend: ReturnType<typeof backendOf>
}

export async function planRun(
  config: CheckedConfig,
  dataset: Dataset,
  opened: OpenedModel,
  { templateDate, backend }: Begun,
  work: Work & { readonly log?: Logger },
): Promise<Plan> {
  const { training, evaluation } = config
  const capacity = training.maxSequenceLength
  if (capacity > opened.generation.maxPositions)
    throw new JobFailure(
      'ConfigurationInvalid',
      `training.maxSequenceLength is ${capacity}; expected at most ${opened.generation.maxPositions}, the positions of ${config.model.name}`,
    )
  const codec: Codec = { ...opened, dateString: templateDate }
  const tokenizer = await tokenizerDigest(opened)
  const make = async (part: TokenizedKey['part'], rows: AsyncIterable<Row>, packing: boolean): Promise<Tokenized> => {
    const { seed, maxSequenceLength: maxTokens } = training
    const { tokenized, cached } = await tokenizedOnce(
      dataset.directory,
      { dataset: dataset.digest, part, tokenizer, templateDate, maxTokens, packing, seed },
      async () => {
        const made = await makeExamples(rows, codec, dataset.format, maxTokens, seed, work)
        const lengths = made.examples.map(({ tokens }) => tokens.length)
        return { ...made, bins: packing ? packBins(lengths, maxTokens, seed) : singleBins(lengths.length) }
      },
      (error) => work.log?.warn({ err: error, part }, 'tokenised texts'),
    )
    work.log?.info({ part, cached, examples: tokenized.examples.length }, 'tokenised texts')
    return tokenized
  }

  const train = await make('train', readRows(dataset, 'train'), training.packing)
  const { examples, bins } = train
  if (examples.length === 0)
    throw new JobFailure(
      'NothingFits',
      `no example fits training.maxSequenceLength of ${capacity} tokens (${train.dropped} sentences were dropped); expected a longer sequence or shorter texts`,
    )
  const lengths = examples.map(({ tokens }) => tokens.length)
  const sequencesPerStep = training.microBatchSize * training.gradientAccumulation
  const order = new StepOrder(bins, sequencesPerStep, training.seed)
  const steps = schedule(training, bins.length, sequencesPerStep)

  const maxLabelTokens = evaluation.maxTokens || defaultMaxLabelTokens[backend]
  const setOf = async (part: TokenizedKey['part'], rows: AsyncIterable<Row>): Promise<EvaluationSet | undefined> => {
    const limits = { maxExamples: evaluation.maxExamples, maxLabelTokens }
    const subset = evaluationSubset((await make(part, rows, false)).examples, limits, training.seed)
    if (subset.length === 0) return undefined
    return { examples: subset, capacity, sequencesPerBatch: training.microBatchSize, seed: training.seed }
  }
  const own = await setOf('validation', readRows(dataset, 'validation'))
  if (own === undefined && dataset.trainPercent < 100)
    throw new JobFailure(
      'NoValidation',
      `the dataset has no validation text that fits ${capacity} tokens, with split.trainPercent ${dataset.trainPercent}; expected two clusters of texts or more, or split.trainPercent 100 for a run that evaluates nothing`,
    )
  const needsHuman = own !== undefined && dataset.format.sample !== 'Denoise'
  const count = own === undefined ? 0 : (evaluation.samples ?? defaultSamples[backend])
  const { seed } = training
  const questions = {
    samples: await chooseSamples(
      readRows(dataset, 'validation'),
      readMachineTexts(dataset),
      codec,
      dataset.format,
      capacity,
      count,
      seed,
    ),
    continuations: chooseContinuations(examples, codec, dataset.format, count, seed),
    train: examples,
    codec,
    capacity,
    cacheTokens: capacity,
    seed,
  }
  const human = needsHuman ? await setOf('human', denoised(readRows(dataset, 'validation'), training.seed)) : undefined

  return {
    schedule: steps,
    batches: (step) => microBatches(examples, order.sequencesOf(step), training.microBatchSize),
    examplesPerStep: examples.length / steps.stepsPerEpoch,
    evaluation: own && { own, human },
    questions,
    asked: {
      sample: dataset.format.sample,
      samples: count,
      maxTokens: maxLabelTokens,
      trainPercent: dataset.trainPercent,
    },
    lengths: lengthsOf(examples, bins, [own, human]),
    data: {
      examples: examples.length,
      chunked: train.chunked,
      dropped: train.dropped,
      promptTokens: examples.reduce((sum, each) => sum + each.promptTokens, 0),
      labelTokens: examples.reduce((sum, each) => sum + each.labelTokens, 0),
      packingEfficiency: packingEfficiency(bins, lengths, capacity),
    },
    warnings: [
      ...warningsOf(train, capacity, dataset.format.sample, own !== undefined),
      ...(await untrainedTokens(examples, opened)),
    ],
  }
}

function lengthsOf(
  train: readonly Example[],
  bins: readonly Bin[],
  sets: readonly (EvaluationSet | undefined)[],
): Lengths {
  const none: Lengths = {
    longestSequence: 0,
    longestDocument: 0,
    shortestDocument: Number.POSITIVE_INFINITY,
    mostDocuments: 0,
    mostLabels: 0,
  }
  const evaluated = sets.filter((set) => set !== undefined)
  const packed = evaluated.map(({ examples, capacity }) => ({ examples, bins: binsInOrder(examples, capacity) }))
  const sequences = [{ examples: train, bins }, ...packed].flatMap(({ examples, bins }) =>
    bins.map((bin) => bin.map((ordinal) => examples[ordinal]!)),
  )
  return sequences.reduce(withSequence, none)
}

function withSequence(all: Lengths, sequence: readonly Example[]): Lengths {
  const documents = sequence.map(({ tokens }) => tokens.length)
  return {
    longestSequence: Math.max(all.longestSequence, sum(documents)),
    longestDocument: Math.max(all.longestDocument, ...documents),
    shortestDocument: Math.min(all.shortestDocument, ...documents),
    mostDocuments: Math.max(all.mostDocuments, documents.length),
    mostLabels: Math.max(all.mostLabels, sum(sequence.map(({ labelTokens }) => labelTokens))),
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)

/** The same texts as Denoise rows. */
async function* denoised(rows: AsyncIterable<Row>, seed: number): AsyncGenerator<Row> {
  for await (const row of rows) yield { ...row, kind: 'Denoise', input: corrupt(row.target, seed, row.id) }
}

function warningsOf({ droppedShare }: Examples, capacity: number, sample: string, validated: boolean): string[] {
  const warnings: string[] = []
  if (droppedShare > droppedWarning)
    warnings.push(
      `${(100 * droppedShare).toFixed(1)} % of the text was dropped: sentences that do not fit ${capacity} tokens`,
    )
  if (sample === 'Identity')
    warnings.push('Identity samples are solved by copying; best and early stopping follow humanLoss instead')
  if (!validated)
    warnings.push(
      'the dataset has no validation text (split.trainPercent 100): nothing is evaluated and no checkpoint is the best',
    )
  return warnings
}
