/** FNV-1a over the UTF-16 units of a name; spread evenly enough to draw by, and the same on every machine. */
function rankOf(seed: number, name: string): number {
  let hash = 0x811c9dc5 ^ (seed | 0)
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  // The last characters of a name must reach the high bits, too.
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
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
