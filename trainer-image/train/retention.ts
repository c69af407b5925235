/** What decides whether a sealed checkpoint stays. */
export interface Kept {
  readonly step: number
  readonly digest: string
}

/** The newest `keep`, the newest whatever `keep` says, the best, and what a release serves or may go back to. */
export function prunable<T extends Kept>(
  checkpoints: readonly T[],
  keep: number,
  bestStep: number | undefined,
  protectedDigests: readonly string[],
): T[] {
  const newestFirst = [...checkpoints].sort((a, b) => b.step - a.step)
  return newestFirst.filter(
    ({ step, digest }, index) => index >= Math.max(1, keep) && step !== bestStep && !protectedDigests.includes(digest),
  )
}
