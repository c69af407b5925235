/** FNV-1a over the UTF-16 units of a name; spread evenly enough to draw by, and the same on every machine. */
const rankOf = (seed: number, name: string): number => rankBehind(sumOf(seed, name))

function sumOf(seed: number, name: string): number {
  let hash = 0x811c9dc5 ^ (seed | 0)
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

/** Of everything that is offered under one key, the few whose names have the lowest ranks: neither order nor number of threads matters. */
export class Drawn<T> {
  readonly #seed: number
  readonly #wanted: number
  readonly #drawn = new Map<string, { readonly rank: number; readonly name: string; readonly item: T }[]>()

  constructor(seed: number, wanted: number) {
    this.#seed = seed
    this.#wanted = wanted
  }

  /** `make` is called only for what is drawn so far. */
  offer(key: string, name: string, make: () => T): void {
    const drawn = this.#drawn.get(key) ?? []
    const rank = rankOf(this.#seed, name)
    if (drawn.length === this.#wanted && rank >= (drawn.at(-1)?.rank ?? 0)) return
    drawn.push({ rank, name, item: make() })
    drawn.sort((a, b) => a.rank - b.rank || (a.name < b.name ? -1 : 1))
    drawn.length = Math.min(drawn.length, this.#wanted)
    this.#drawn.set(key, drawn)
  }

  clear(): void {
    this.#drawn.clear()
  }

  get(key: string): readonly T[] {
    return (this.#drawn.get(key) ?? []).map(({ item }) => item)
  }

  get all(): readonly T[] {
    return [...this.#drawn.keys()].flatMap((key) => this.get(key))
  }
}

/** What Drawn draws of the names that are a prefix and a number each, without making the names. */
export class DrawnRows {
  readonly #wanted: number
  readonly #prefix: number
  readonly #drawn: { readonly rank: number; readonly number: number }[] = []

  constructor(seed: number, wanted: number, prefix: string) {
    this.#wanted = wanted
    this.#prefix = sumOf(seed, prefix)
  }

  /** Whether it is drawn so far. */
  offer(number: number): boolean {
    const rank = this.#rankOf(number)
    const drawn = this.#drawn
    if (drawn.length === this.#wanted && rank >= (drawn.at(-1)?.rank ?? 0)) return false
    drawn.push({ rank, number })
    drawn.sort((a, b) => a.rank - b.rank)
    drawn.length = Math.min(drawn.length, this.#wanted)
    return true
  }

  get numbers(): readonly number[] {
    return this.#drawn.map(({ number }) => number)
  }

  #rankOf(number: number): number {
    let unit = 1
    while (10 * unit <= number) unit *= 10
    let hash = this.#prefix
    for (let rest = number; unit >= 1; unit /= 10) {
      const digit = Math.floor(rest / unit)
      rest -= digit * unit
      hash = Math.imul(hash ^ (48 + digit), 0x01000193)
    }
    return rankBehind(hash)
  }
}
