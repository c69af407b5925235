import type { Example } from './output.ts'
import { isUnspaced, spacedWords } from './unspaced.ts'

/** What a model that only copies its input would score on the examples of one kind. */
export interface CopyBaseline {
  readonly kind: Example['kind']
  readonly examples: number
  /** Mean F1 of the words of the input against those of the target, 0 to 1: 1 means that copying is the whole task. */
  readonly wordF1: number
}

/** Sums the baseline up while the examples go by. */
export class CopyBaselines {
  readonly #sums = new Map<Example['kind'], { examples: number; wordF1: number }>()

  add({ kind, input, target }: Pick<Example, 'kind' | 'input' | 'target'>): void {
    const sum = this.#sums.get(kind) ?? { examples: 0, wordF1: 0 }
    this.#sums.set(kind, { examples: sum.examples + 1, wordF1: sum.wordF1 + wordF1(input, target) })
  }

  get all(): readonly CopyBaseline[] {
    return [...this.#sums]
      .map(([kind, { examples, wordF1 }]) => ({ kind, examples, wordF1: Number((wordF1 / examples).toFixed(4)) }))
      .sort((a, b) => (a.kind < b.kind ? -1 : 1))
  }
}

/** 2 · common / (words of both), each word counted as often as it stands in both. */
export function wordF1(input: string, target: string): number {
  if (input === target) return 1
  const unspaced = isUnspaced(target)
  const [left, right] = [spacedWords(input, unspaced), spacedWords(target, unspaced)]
  const counts = new Map<string, number>()
  for (const word of left) counts.set(word, (counts.get(word) ?? 0) + 1)
  let common = 0
  for (const word of right) {
    const count = counts.get(word) ?? 0
    if (count > 0) common++
    counts.set(word, count - 1)
  }
  return left.length + right.length === 0 ? 0 : (2 * common) / (left.length + right.length)
}
