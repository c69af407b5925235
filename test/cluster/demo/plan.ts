/** What a run is about to do and how long it took, in words, from its own spec and status. */
import type { Run } from './follow.ts'

/** Training of the demo, baseline included, on two AVX2 cores. */
export const limitSeconds = 480

/** 0, every, 2·every, … and the last step. */
function stepsOf(every: number, last: number, first: number): string {
  const steps: number[] = []
  for (let step = first; step < last; step += every) steps.push(step)
  return [...steps, last].join(', ')
}

export function workOf(sample: string, { spec: { training } }: Run): string {
  const sequences = training.microBatchSize * training.gradientAccumulation
  const tokens = sequences * training.maxSequenceLength
  return `${sample}, ${training.maxSteps} steps of about ${tokens.toLocaleString('en')} tokens (${sequences} × ${training.maxSequenceLength})`
}

/** Texts of the fixed evaluation set: as many as the run asks for, or all of validation. */
export const evaluated = (run: Run, validation: number): number => Math.min(run.spec.evaluation.maxExamples, validation)

export function planOf(sample: string, validation: number, run: Run): string {
  const { training, evaluation, checkpoints } = run.spec
  const { maxSteps } = training
  return (
    `${workOf(sample, run)}; evaluated on ${evaluated(run, validation)} fixed texts at steps ${stepsOf(evaluation.everySteps, maxSteps, 0)}; ` +
    `checkpoints at ${stepsOf(checkpoints.everySteps, maxSteps, checkpoints.everySteps)}; at most ${limitSeconds / 60} minutes on two AVX2 cores`
  )
}

/** Seconds from the first attempt's start to the last one's end: the baseline, every step, evaluation and checkpoint. */
export function trainingSeconds({ status }: Run): number {
  const [first, last] = [status?.attempts?.[0], status?.attempts?.at(-1)]
  if (!first || !last?.finishTime) throw new Error('the run has no finished attempt')
  return (Date.parse(last.finishTime) - Date.parse(first.startTime)) / 1000
}
