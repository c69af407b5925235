/** A growing list of 32-bit integers, 4 bytes each. */
export class Integers {
  #values = new Int32Array(1 << 10)
  length = 0

  push(value: number): void {
    if (this.length === this.#values.length) {
      const old = this.#values
      this.#values = new Int32Array(2 * old.length)
      this.#values.set(old)
    }
    this.#values[this.length++] = value
  }

  at(place: number): number {
    return this.#values[place] as number
  }

  set(place: number, value: number): void {
    this.#values[place] = value
  }
}

/**
 * Which texts hold a run of n words, words being numbers: exact, since every run is compared word by word. About 20 bytes a word.
 * `words` holds the words of all texts one after the other; a text's words are there before its runs are added.
 */
export class GramIndex {
  readonly n: number
  readonly #words: Integers
  /** By hash, one more than the newest posting of a run; 0 marks a free place. At most half full. */
  #table = new Int32Array(1 << 12)
  #runs = 0
  // By posting: where its run begins, which text that is, and one more than the next older posting of the same run.
  readonly #begins = new Integers()
  readonly #texts = new Integers()
  readonly #older = new Integers()

  constructor(n: number, words: Integers) {
    this.n = n
    this.#words = words
  }

  /** Adds the run at `begin`; false when the text, the newest so far, has it already. */
  add(begin: number, text: number): boolean {
    if (2 * this.#runs >= this.#table.length) this.#grow()
    const place = this.#placeOf(this.#words, begin)
    const newest = this.#table[place] as number
    if (newest > 0 && this.#texts.at(newest - 1) === text) return false
    if (newest === 0) this.#runs++
    this.#begins.push(begin)
    this.#texts.push(text)
    this.#older.push(newest)
    this.#table[place] = this.#begins.length
    return true
  }

  /** The texts with the run that begins at `begin` of other words, newest first; where they have it, too. */
  *find(words: Integers, begin: number): Generator<{ readonly text: number; readonly begin: number }> {
    for (let at = this.#table[this.#placeOf(words, begin)] as number; at > 0; at = this.#older.at(at - 1))
      yield { text: this.#texts.at(at - 1), begin: this.#begins.at(at - 1) }
  }

  #placeOf(words: Integers, begin: number): number {
    let hash = this.n
    for (let i = 0; i < this.n; i++) hash = Math.imul(hash ^ words.at(begin + i), 0x9e3779b1) ^ (hash >>> 15)
    for (let place = hash & (this.#table.length - 1); ; place = (place + 1) & (this.#table.length - 1)) {
      const newest = this.#table[place] as number
      if (newest === 0 || this.#isSame(words, begin, this.#begins.at(newest - 1))) return place
    }
  }

  #isSame(words: Integers, begin: number, known: number): boolean {
    for (let i = 0; i < this.n; i++) if (words.at(begin + i) !== this.#words.at(known + i)) return false
    return true
  }

  #grow(): void {
    const heads = this.#table.filter((newest) => newest > 0)
    this.#table = new Int32Array(2 * this.#table.length)
    for (const newest of heads) this.#table[this.#placeOf(this.#words, this.#begins.at(newest - 1))] = newest
  }
}
