/** What decides whether a sealed checkpoint stays. */
export interface Kept {
  readonly step: number
}

/** The newest `keep`, the newest whatever `keep` says, and the best. */
export function prunable<T extends Kept>(checkpoints: readonly T[], keep: number, bestStep: number | undefined): T[] {
  const newestFirst = [...checkpoints].sort((a, b) => b.step - a.step)
  return newestFirst.filter(({ step }, index) => index >= Math.max(1, keep) && step !== bestStep)
}
