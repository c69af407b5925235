import { shuffled } from '../train/packing.ts'

/** What an evaluation may cost. */
export interface Limits {
  readonly maxExamples: number
  readonly maxLabelTokens: number
}

/** Label tokens of one evaluation when the configuration names none. */
export const defaultMaxLabelTokens = { CPU: 5_000, CUDA: 50_000 } as const

/** The fixed, seeded subset that every evaluation of a run measures: at least one example, then while both limits hold. */
export function evaluationSubset<T extends { readonly labelTokens: number }>(
  examples: readonly T[],
  { maxExamples, maxLabelTokens }: Limits,
  seed: number,
): T[] {
  const subset: T[] = []
  let labelTokens = 0
  for (const example of shuffled(examples, seed, 'evaluation')) {
    const fits = subset.length < maxExamples && labelTokens + example.labelTokens <= maxLabelTokens
    if (subset.length > 0 && !fits) continue
    subset.push(example)
    labelTokens += example.labelTokens
  }
  return subset
}
