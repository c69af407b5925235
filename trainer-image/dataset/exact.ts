import { hash } from 'node:crypto'

/**
 * Which text was the first of several equal ones: the MD5 sums of texts and the ordinal of the first text with each, in a table of 20
 * bytes a place, at most two thirds full.
 */
export class FirstOfEqual {
  #places = 1 << 12
  /** Of each place the four words of a sum, then 1 + ordinal; 0 marks a free one. */
  #table = new Uint32Array(5 * this.#places)
  #held = 0

  /** The ordinal of the first text equal to this one; `ordinal`, and remembered, when there was none before. */
  find(text: string, ordinal: number): number {
    if (this.#held * 3 > this.#places * 2) this.#grow()
    const words = sumOf(text)
    const at = this.#placeOf(words)
    const first = this.#table[at + 4] as number
    if (first > 0) return first - 1
    this.#table.set([...words, ordinal + 1], at)
    this.#held++
    return ordinal
  }

  /** Whether there was an equal one. */
  has(text: string): boolean {
    return (this.#table[this.#placeOf(sumOf(text)) + 4] as number) > 0
  }

  /** What was remembered of the ordinals from `ordinal` on, for `remember`: five words each. */
  since(ordinal: number): Uint32Array {
    const places: number[] = []
    for (let at = 0; at < this.#table.length; at += 5) if ((this.#table[at + 4] as number) > ordinal) places.push(at)
    const found = new Uint32Array(5 * places.length)
    for (const [i, at] of places.entries()) found.set(this.#table.subarray(at, at + 5), 5 * i)
    return found
  }

  remember(entries: Uint32Array): void {
    for (let from = 0; from < entries.length; from += 5) {
      if (this.#held * 3 > this.#places * 2) this.#grow()
      const entry = entries.subarray(from, from + 5)
      this.#table.set(entry, this.#placeOf(entry))
      this.#held++
    }
  }

  /** Where the sum stands, or the free place for it. */
  #placeOf(words: ArrayLike<number>): number {
    for (let place = (words[0] as number) % this.#places; ; place = (place + 1) % this.#places) {
      const at = 5 * place
      if (this.#table[at + 4] === 0 || [0, 1, 2, 3].every((i) => this.#table[at + i] === words[i])) return at
    }
  }

  #grow(): void {
    const old = this.#table
    this.#places *= 2
    this.#table = new Uint32Array(5 * this.#places)
    for (let at = 0; at < old.length; at += 5)
      if (old[at + 4] !== 0) this.#table.set(old.subarray(at, at + 5), this.#placeOf(old.subarray(at, at + 4)))
  }
}

function sumOf(text: string): readonly number[] {
  const sum = hash('md5', text, 'buffer')
  return [0, 4, 8, 12].map((at) => sum.readUInt32LE(at))
}
