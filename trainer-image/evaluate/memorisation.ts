/** Tokens that a run must have to be found; shorter ones are everywhere. */
const SEED = 8

interface Place {
  readonly text: number
  readonly at: number
}

/**
 * Longest run of tokens that each of a few texts shares with any of many others, which pass by once: the few are indexed by their
 * runs of 8 tokens, so memory does not grow with the many. A run shorter than 8 counts as 0.
 */
export class SharedRuns {
  readonly #texts: readonly Int32Array[]
  readonly #index = new Map<number, Place[]>()
  readonly #longest: number[]

  constructor(texts: readonly Int32Array[]) {
    this.#texts = texts
    this.#longest = texts.map(() => 0)
    texts.forEach((tokens, text) => {
      for (let at = 0; at + SEED <= tokens.length; at++) {
        const hash = hashOf(tokens, at)
        const places = this.#index.get(hash)
        if (places) places.push({ text, at })
        else this.#index.set(hash, [{ text, at }])
      }
    })
  }

  /** By text, in their order. */
  get longest(): readonly number[] {
    return this.#longest
  }

  /** Compares with one of the many. */
  pass(tokens: Int32Array): void {
    for (let from = 0; from + SEED <= tokens.length; from++) {
      const places = this.#index.get(hashOf(tokens, from))
      if (places === undefined) continue
      for (const { text, at } of places) {
        const other = this.#texts[text]!
        // What begins inside a run was counted with its beginning.
        if (from > 0 && at > 0 && tokens[from - 1] === other[at - 1]) continue
        let length = 0
        while (
          from + length < tokens.length &&
          at + length < other.length &&
          tokens[from + length] === other[at + length]
        )
          length += 1
        if (length >= SEED && length > this.#longest[text]!) this.#longest[text] = length
      }
    }
  }
}

/** FNV-1a over the ids of a seed; a collision costs a comparison, never a wrong run. */
function hashOf(tokens: Int32Array, from: number): number {
  let hash = 0x811c9dc5
  for (let i = from; i < from + SEED; i++) hash = Math.imul(hash ^ tokens[i]!, 0x01000193)
  return hash
}
