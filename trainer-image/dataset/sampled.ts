/** FNV-1a over the UTF-16 units of a name; spread evenly enough to draw by, and the same on every machine. */
export const rankOf = (seed: number, name: string): number => rankBehind(sumOf(seed, name))

const sumOf = (seed: number, name: string): number => sumBehind(0x811c9dc5 ^ (seed | 0), name)

function sumBehind(sum: number, name: string): number {
  let hash = sum
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash
}

function rankBehind(sum: number): number {
  // The last characters of a name must reach the high bits, too.
  const hash = Math.imul(sum ^ (sum >>> 15), 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) >>> 0
}

/** Whether something is among about `wanted` of `all` that are drawn by their names alone. */
export const isDrawn = (seed: number, name: string, wanted: number, all: number): boolean =>
  rankOf(seed, name) < (wanted / Math.max(all, 1)) * 2 ** 32

/** What has the lowest ranks of all that is offered; of equal ranks what came first. */
export class Lowest<T> {
  readonly #wanted: number
  /** Up to twice as many as are wanted, so that they are sorted seldom. */
  #held: { readonly rank: number; readonly item: T }[] = []
  #limit: number

  /** From the rank `limit` on everything is out. */
  constructor(wanted: number, limit = Number.POSITIVE_INFINITY) {
    this.#wanted = wanted
    this.#limit = wanted > 0 ? limit : Number.NEGATIVE_INFINITY
  }

  /** Whether it is among those held so far; `make` is called only then. */
  offer(rank: number, make: () => T): boolean {
    if (rank >= this.#limit) return false
    this.#held.push({ rank, item: make() })
    if (this.#held.length >= 2 * this.#wanted) this.#cut()
    return true
  }

  /** From this rank on everything is out. */
  get limit(): number {
    return this.#limit
  }

  /** In the order of their ranks. */
  get held(): readonly { readonly rank: number; readonly item: T }[] {
    if (this.#held.length >= this.#wanted) this.#cut()
    else this.#held.sort((a, b) => a.rank - b.rank)
    return this.#held
  }

  #cut(): void {
    this.#held.sort((a, b) => a.rank - b.rank)
    this.#held.length = this.#wanted
    this.#limit = this.#held.at(-1)?.rank ?? this.#limit
  }
}

/** Of everything that is offered under one key, the few whose names have the lowest ranks. */
export class Drawn<T> {
  readonly #seed: number
  readonly #wanted: number
  readonly #drawn = new Map<string, Lowest<T>>()

  constructor(seed: number, wanted: number) {
    this.#seed = seed
    this.#wanted = wanted
  }

  /** `make` is called only for what is drawn so far. */
  offer(key: string, name: string, make: () => T): void {
    const drawn = this.#drawn.get(key) ?? new Lowest<T>(this.#wanted)
    drawn.offer(rankOf(this.#seed, name), make)
    this.#drawn.set(key, drawn)
  }

  clear(): void {
    this.#drawn.clear()
  }

  get all(): readonly T[] {
    return [...this.#drawn.values()].flatMap(({ held }) => held.map(({ item }) => item))
  }
}

/** The ranks of names that are a prefix and a number each, without making the names. */
export class RowRanks {
  readonly #prefix: number
  /** What all numbers up to the last digit have in common, and its sum behind the prefix. */
  #tens = 0
  #sum: number

  constructor(seed: number, prefix: string) {
    this.#prefix = sumOf(seed, prefix)
    this.#sum = this.#prefix
  }

  /** Cheapest for one number after the other. */
  rankOf(number: number): number {
    const tens = Math.floor(number / 10)
    if (tens !== this.#tens) {
      this.#tens = tens
      this.#sum = tens === 0 ? this.#prefix : sumBehind(this.#prefix, String(tens))
    }
    return rankBehind(Math.imul(this.#sum ^ (48 + number - 10 * tens), 0x01000193))
  }
}
