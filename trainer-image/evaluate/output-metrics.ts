import type { Metric } from '#proto/humanizer/trainer/v1/run.ts'
import { bootstrap, type Estimate, ratio } from './bootstrap.ts'
import { lengthRatio, namesKept, numbersKept, rougeL, wordOverlap } from './content.ts'
import { isCopy } from './copying.ts'
import { type MetricName, metricOf } from './metrics.ts'
import { proportion } from './proportion.ts'
import { distinct, repeatedStarts, sequenceRepetition } from './repetition.ts'
import { type MarkerValues, markersOf, styleDistance } from './style.ts'

/** A text that was written for an input. */
export interface Written {
  readonly input: string
  readonly output: string
  /** What a human wrote; undefined when nobody did. */
  readonly human: string | undefined
  /** Longest run of tokens shared with a training text; undefined when it was not looked for. */
  readonly sharedRun: number | undefined
}

/** Shared tokens from which on an output counts as memorised (Lee et al. 2022, arXiv 2107.06499; Carlini et al. 2023, arXiv 2202.07646). */
export const memorisedTokens = 50

/** What one text adds to each mean; undefined where it says nothing. */
const ofOneText: Readonly<Partial<Record<MetricName, (written: Written) => number | undefined>>> = {
  repetition4: ({ output }) => sequenceRepetition(output, 4),
  distinct2: ({ output }) => distinct(output, 2),
  repeatedStarts: ({ output }) => repeatedStarts(output),
  wordOverlap: ({ input, output }) => wordOverlap(input, output),
  rougeL: ({ input, output }) => rougeL(input, output),
  numbersKept: ({ input, output }) => numbersKept(input, output),
  namesKept: ({ input, output }) => namesKept(input, output),
  lengthRatio: ({ input, output }) => lengthRatio(input, output),
  longestSharedRun: ({ sharedRun }) => sharedRun,
}

/** What is asked of one text and answered with yes or no; undefined where there is nothing to ask. */
const askedOfOneText: Readonly<Partial<Record<MetricName, (written: Written) => boolean | undefined>>> = {
  memorised: ({ sharedRun }) => (sharedRun === undefined ? undefined : sharedRun >= memorisedTokens),
  copyRate: ({ input, output }) => isCopy(input, output),
}

/** Every metric of what was written, each a mean over texts with its interval: by bootstrap over them, of shares Wilson's. */
export function outputMetrics(written: readonly Written[], seed: number): Metric[] {
  const means = Object.entries(ofOneText).flatMap(([name, of]) => {
    const parts = written.flatMap((each) => {
      const value = of(each)
      return value === undefined ? [] : [{ value, weight: 1 }]
    })
    return metricOf(name as MetricName, ratio(parts, seed))
  })
  const shares = Object.entries(askedOfOneText).flatMap(([name, ask]) =>
    metricOf(name as MetricName, proportion(written.flatMap((each) => ask(each) ?? []))),
  )
  return [
    ...means,
    ...shares,
    ...metricOf('lengthRatioP95', longRatio(written, seed)),
    ...metricOf('styleDistance', distanceFromHuman(written, seed)),
  ]
}

function longRatio(written: readonly Written[], seed: number): Estimate | undefined {
  const ratios = written.flatMap(({ input, output }) => lengthRatio(input, output) ?? [])
  if (ratios.length === 0) return undefined
  const p95 = (values: readonly number[]): number =>
    values.toSorted((a, b) => a - b)[Math.ceil(0.95 * values.length) - 1]!
  return {
    value: p95(ratios),
    interval: bootstrap(ratios.length, (drawn) => p95(Array.from(drawn, (i) => ratios[i]!)), seed),
  }
}

/** A text is drawn with its human reference. */
function distanceFromHuman(written: readonly Written[], seed: number): Estimate | undefined {
  const pairs = written.flatMap(({ output, human }): { ours: MarkerValues; theirs: MarkerValues }[] =>
    human === undefined ? [] : [{ ours: markersOf(output), theirs: markersOf(human) }],
  )
  const distance = (of: readonly (typeof pairs)[number][]): number =>
    styleDistance(
      of.map(({ ours }) => ours),
      of.map(({ theirs }) => theirs),
    ) ?? Number.NaN
  const value = distance(pairs)
  if (!Number.isFinite(value)) return undefined
  const interval = bootstrap(pairs.length, (drawn) => distance(Array.from(drawn, (i) => pairs[i]!)), seed)
  return { value, interval: interval && Number.isFinite(interval.low + interval.high) ? interval : undefined }
}
