import { randomOf } from '../dataset/random.ts'

/** Ordinals of the examples that share one packed sequence. */
export type Bin = readonly number[]

/** Fisher–Yates with the project's seeded generator; the same on every machine. */
export function shuffled<T>(items: readonly T[], seed: number, name: string): T[] {
  const random = randomOf(seed, name)
  const order = [...items]
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const item = order[last] as T
    order[last] = order[other] as T
    order[other] = item
  }
  return order
}

/**
 * Best-fit-decreasing: the longest example first, each into the fullest bin that still holds it. The seed decides only
 * which of equally long examples share a bin. Every length is 1…capacity.
 */
export function packBins(lengths: readonly number[], capacity: number, seed: number): Bin[] {
  const order = shuffled([...lengths.keys()], seed, 'packing').sort((a, b) => lengths[b]! - lengths[a]!)
  const bins: number[][] = []
  const withRoom: number[][] = Array.from({ length: capacity + 1 }, () => []) // by free tokens: ordinals of bins
  for (const example of order) {
    const length = lengths[example]!
    if (!(length >= 1 && length <= capacity))
      throw new RangeError(`example ${example} has ${length} tokens; expected 1 to ${capacity}`)
    let room = length
    while (room <= capacity && withRoom[room]!.length === 0) room += 1
    const bin = room <= capacity ? withRoom[room]!.pop()! : bins.push([]) - 1
    bins[bin]!.push(example)
    withRoom[Math.min(room, capacity) - length]!.push(bin)
  }
  return bins
}

/** One example per sequence, for runs with packing off. */
export const singleBins = (examples: number): Bin[] => Array.from({ length: examples }, (_, example) => [example])

/** Share of the tokens' room that is filled, 0 to 1. */
export const packingEfficiency = (bins: readonly Bin[], lengths: readonly number[], capacity: number): number =>
  bins.length === 0 ? 0 : lengths.reduce((sum, length) => sum + length, 0) / (bins.length * capacity)

/**
 * The sequences of optimizer step 1, 2, …: a function of (bins, seed, step) alone, so a resumed run, another
 * micro-batch size or another machine sees the same data. Bins are shuffled anew in each epoch.
 */
export class StepOrder {
  readonly #bins: readonly Bin[]
  readonly #sequencesPerStep: number
  readonly #seed: number
  #epoch = -1
  #order: readonly Bin[] = []

  constructor(bins: readonly Bin[], sequencesPerStep: number, seed: number) {
    this.#bins = bins
    this.#sequencesPerStep = sequencesPerStep
    this.#seed = seed
  }

  /** Position in the effective batch is the sequence's ordinal: the Philox counter of its dropout. */
  sequencesOf(step: number): readonly Bin[] {
    const stepsPerEpoch = Math.ceil(this.#bins.length / this.#sequencesPerStep)
    const epoch = Math.floor((step - 1) / stepsPerEpoch)
    if (epoch !== this.#epoch) {
      this.#order = shuffled(this.#bins, this.#seed, `epoch ${epoch}`)
      this.#epoch = epoch
    }
    const first = ((step - 1) % stepsPerEpoch) * this.#sequencesPerStep
    return this.#order.slice(first, first + this.#sequencesPerStep)
  }
}
