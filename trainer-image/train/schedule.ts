import type { Training } from '#proto/humanizer/trainer/v1/run.ts'

export const learningRateSchedules = ['Cosine', 'Linear', 'Constant'] as const
export type LearningRateSchedule = (typeof learningRateSchedules)[number]

/** Everything about time that is known before the first step. */
export interface Schedule {
  readonly totalSteps: number
  readonly stepsPerEpoch: number
  readonly warmupSteps: number
  readonly peak: number
  readonly shape: LearningRateSchedule
}

/** `bins` packed sequences make an epoch; the last step of an epoch may hold fewer than a full effective batch. */
export function schedule(
  training: Pick<Training, 'epochs' | 'maxSteps' | 'warmupRatio' | 'learningRate' | 'learningRateSchedule'>,
  bins: number,
  sequencesPerStep: number,
): Schedule {
  const stepsPerEpoch = Math.ceil(bins / sequencesPerStep)
  const totalSteps = training.maxSteps > 0 ? training.maxSteps : Math.ceil(training.epochs * stepsPerEpoch)
  return {
    totalSteps,
    stepsPerEpoch,
    warmupSteps: Math.ceil(training.warmupRatio * totalSteps),
    peak: training.learningRate,
    shape: training.learningRateSchedule as LearningRateSchedule,
  }
}

/**
 * Learning rate of optimizer step 1…totalSteps. The curve of Hugging Face's get_*_schedule_with_warmup, but the warmup
 * counts from one: their first step has a rate of zero and teaches nothing, which matters in a run of thirty.
 */
export function learningRate({ totalSteps, warmupSteps, peak, shape }: Schedule, step: number): number {
  if (step <= warmupSteps) return (peak * step) / warmupSteps
  if (shape === 'Constant') return peak
  const progress = (step - 1 - warmupSteps) / Math.max(1, totalSteps - warmupSteps)
  return shape === 'Linear' ? peak * (1 - progress) : (peak * (1 + Math.cos(Math.PI * progress))) / 2
}
