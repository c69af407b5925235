/** What the evaluations so far amount to. */
export interface Standing {
  readonly best: { readonly step: number; readonly loss: number } | undefined
  /** Evaluations in a row that did not beat the best before them by more than minImprovement. */
  readonly withoutImprovement: number
}

export const newStanding: Standing = { best: undefined, withoutImprovement: 0 }

export interface Patience {
  /** 0 turns early stopping off. */
  readonly patience: number
  readonly minImprovement: number
}

export interface Judgement {
  readonly standing: Standing
  readonly newBest: boolean
  readonly stop: boolean
}

/**
 * Judges one evaluation. Step 0 is the baseline: it is compared with in reports and never the best, so a run that
 * never beats it still has a best checkpoint. A loss that is not finite never improves.
 */
export function judge(
  standing: Standing,
  step: number,
  loss: number,
  { patience, minImprovement }: Patience,
): Judgement {
  if (step === 0) return { standing, newBest: false, stop: false }
  const { best } = standing
  const newBest = Number.isFinite(loss) && (best === undefined || loss < best.loss)
  const improved = newBest && (best === undefined || best.loss - loss > minImprovement)
  const withoutImprovement = improved ? 0 : standing.withoutImprovement + 1
  return {
    standing: { best: newBest ? { step, loss } : best, withoutImprovement },
    newBest,
    stop: patience > 0 && withoutImprovement >= patience,
  }
}
