import type { Checkpoint, RunReport } from '#proto/humanizer/trainer/v1/run.ts'

/** The checkpoints of a report as far as they can be so, and what was left out of it, in words. */
export interface Believed {
  readonly checkpoints: readonly Checkpoint[]
  readonly doubts: readonly string[]
}

/**
 * A trainer's word is no proof, and a release goes by it: what names no adapter is no checkpoint, and figures that were not
 * measured on it, or that nothing can measure, are none.
 */
export function believed({ checkpoints }: Pick<RunReport, 'checkpoints'>): Believed {
  const doubts: string[] = []
  const sound = checkpoints.flatMap((checkpoint) => {
    const { step, digest } = checkpoint
    const usual = `checkpoint-${step}`
    if (!Number.isSafeInteger(step) || step < 1) {
      doubts.push(`a checkpoint is left out: its step is ${step}, expected a positive number`)
      return []
    }
    if (!/^sha256:[0-9a-f]{64}$/.test(digest)) {
      doubts.push(`${usual} is left out: its digest is "${digest.slice(0, 80)}", expected a sha256`)
      return []
    }
    const name = checkpoint.name === usual ? usual : ''
    return [{ ...checkpoint, name, path: pathOf(checkpoint), evaluation: evaluationOf(checkpoint, doubts) }]
  })
  return { checkpoints: sound, doubts }
}

/** Empty, where it leads out of the claim: the usual one is meant. */
const pathOf = ({ path }: Checkpoint): string => (path.startsWith('/') || path.split('/').includes('..') ? '' : path)

function evaluationOf({ step, evaluation }: Checkpoint, doubts: string[]): Checkpoint['evaluation'] {
  if (!evaluation) return undefined
  const { loss } = evaluation
  // A short result leaves the step out.
  if (evaluation.step !== 0 && evaluation.step !== step) {
    doubts.push(`the evaluation of checkpoint-${step} is left out: it is of step ${evaluation.step}`)
    return undefined
  }
  if (loss !== undefined && loss < 0) {
    doubts.push(`the evaluation of checkpoint-${step} is left out: its loss is ${loss}, expected at least 0`)
    return undefined
  }
  return evaluation
}
