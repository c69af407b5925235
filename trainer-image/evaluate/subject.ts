import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import type { Metric } from '#proto/humanizer/trainer/v1/run.ts'
import type { Adapter, Model } from '../native/index.ts'
import { writeFileAtomic } from '../storage/atomic.ts'
import type { Codec, Example } from '../train/example.ts'
import type { Work } from '../train/work.ts'
import { ratio } from './bootstrap.ts'
import { curvaturesOf } from './curvature.ts'
import { SharedRuns } from './memorisation.ts'
import { metricOf } from './metrics.ts'
import { outputMetrics } from './output-metrics.ts'
import { extract, type Output, writeOutputs } from './outputs.ts'
import { proportion } from './proportion.ts'
import { answerTokens, type Continuation, type Sample } from './samples.ts'

/** What all subjects of a run are asked, and measured against. */
export interface Questions {
  readonly samples: readonly Sample[]
  readonly continuations: readonly Continuation[]
  /** All that the run trains on. */
  readonly train: readonly Example[]
  readonly codec: Codec
  /** Tokens of a text that are scored at most. */
  readonly capacity: number
  /** Tokens of keys and values that may be held. */
  readonly cacheTokens: number
  readonly seed: number
}

/** What one subject wrote. */
export interface Answers {
  readonly outputs: readonly Output[]
  /** By continuation: tokens that came word for word. */
  readonly matched: readonly number[]
  /** By output (curvature.ts); null where a text is too short to have one. */
  readonly curvatures: readonly (number | null)[]
}

/** The base, whose digest is empty, or a checkpoint. */
export interface Subject {
  readonly name: string
  readonly digest: string
}

/**
 * Lets a subject answer, once: what it answered stands in the run's folder, so that an attempt that comes after, or that was
 * interrupted, finds it. Answers of another adapter or to other questions count for nothing.
 */
export async function answersOf(
  { name, digest }: Subject,
  runDirectory: string,
  questions: Questions,
  open: () => Promise<{ readonly model: Model; readonly adapter: Adapter | undefined }>,
  work: Work,
): Promise<Answers> {
  const folder = join(runDirectory, 'evaluation')
  const path = join(folder, `${name}.json`)
  const { samples, continuations, codec, capacity, cacheTokens } = questions
  const asked = { samples: samples.map(({ id }) => id), continuations: continuations.map(({ id }) => id) }
  const known = await readAnswers(path)
  // Answers of an older version lack the curvatures.
  if (known?.curvatures && known.digest === digest && JSON.stringify(known.asked) === JSON.stringify(asked))
    return known
  const { model, adapter } = await open()
  try {
    const outputs = await writeOutputs(model, adapter, samples, codec, cacheTokens, work)
    const matched = await extract(model, adapter, continuations, work)
    const texts = outputs.map(({ text }) => text)
    const curvatures = (await curvaturesOf(model, texts, codec, capacity, work)).map((each) => each ?? null)
    await mkdir(folder, { recursive: true })
    await writeFileAtomic(path, `${JSON.stringify({ version: 1, digest, asked, outputs, matched, curvatures })}\n`)
    return { outputs, matched, curvatures }
  } finally {
    adapter?.close()
  }
}

interface StoredAnswers extends Answers {
  readonly digest: string
  readonly asked: object
}

async function readAnswers(path: string): Promise<StoredAnswers | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as StoredAnswers
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** All metrics of what a subject answered. */
export async function metricsOfAnswers(
  { outputs, matched, curvatures }: Answers,
  { samples, continuations, train, seed }: Questions,
  work: Work,
): Promise<Metric[]> {
  const shared = await sharedRuns(
    outputs.map(({ tokens }) => Int32Array.from(tokens)),
    train,
    work,
  )
  const written = samples.map(({ input, human }, index) => ({
    input,
    human,
    output: outputs[index]!.text,
    sharedRun: shared[index],
  }))
  const extracted = continuations.map(({ next }, index) => matched[index] === next.length)
  return [
    ...outputMetrics(written, seed),
    ...metricOf('extracted', proportion(extracted)),
    ...meanCurvature(curvatures, seed),
  ]
}

const meanCurvature = (curvatures: readonly (number | null | undefined)[], seed: number): Metric[] =>
  metricOf(
    'curvature',
    ratio(
      curvatures.flatMap((value) => (typeof value === 'number' ? [{ value, weight: 1 }] : [])),
      seed,
    ),
  )

/** The same metrics of the texts that no subject wrote: the input itself, of these the machine-written, and the human's words. */
export async function referenceMetrics(
  model: Pick<Model, 'likelihoods'>,
  { samples, train, codec, capacity, seed }: Questions,
  work: Work,
): Promise<Readonly<Record<'copy' | 'machine' | 'human', Metric[]>>> {
  const byHumans = samples.filter((sample) => sample.human !== undefined)
  const shared = await sharedRuns(
    byHumans.map(({ humanTokens }) => humanTokens),
    train,
    work,
  )
  const copy = samples.map(({ input, human }) => ({ input, human, output: input, sharedRun: undefined }))
  const human = byHumans.map(({ input, human = '' }, index) => ({
    input,
    human,
    output: human,
    sharedRun: shared[index],
  }))
  const curvature = async (texts: readonly string[]): Promise<Metric[]> =>
    meanCurvature(await curvaturesOf(model, texts, codec, capacity, work), seed)
  const inputs = samples.map(({ input }) => input)
  const byMachines = samples.flatMap(({ input, human }) => (human === undefined ? [input] : []))
  return {
    copy: [...outputMetrics(copy, seed), ...(await curvature(inputs))],
    machine: await curvature(byMachines),
    human: [...outputMetrics(human, seed), ...(await curvature(human.map(({ output }) => output)))],
  }
}

async function sharedRuns(
  texts: readonly Int32Array[],
  train: readonly Example[],
  { signal, beat }: Work,
): Promise<readonly number[]> {
  const runs = new SharedRuns(texts)
  for (const [index, example] of train.entries()) {
    runs.pass(answerTokens(example))
    if (index % 256 !== 0) continue
    signal.throwIfAborted()
    beat()
    await setImmediate() // lets the writer's lock beat and calls be answered
  }
  return runs.longest
}
