/** What decides whether a sealed checkpoint stays. */
export interface Kept {
  readonly step: number
  readonly digest: string
}

/** All but the newest `keep`, the newest whatever `keep` says, the best, and what a release refers to. */
export function prunable<T extends Kept>(
  checkpoints: readonly T[],
  keep: number,
  bestStep: number | undefined,
  referred: ReadonlySet<string>,
): T[] {
  const newestFirst = [...checkpoints].sort((a, b) => b.step - a.step)
  return newestFirst.filter(
    ({ step, digest }, index) => index >= Math.max(1, keep) && step !== bestStep && !referred.has(digest),
  )
}
