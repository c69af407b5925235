/** A list of whole numbers below 2^32 that grows: four bytes each, where an array of a million numbers has eight and copies itself. */
export class Numbers {
  #values = new Uint32Array(1 << 12)
  #length = 0

  get length(): number {
    return this.#length
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const grown = new Uint32Array(2 * this.#values.length)
      grown.set(this.#values)
      this.#values = grown
    }
    this.#values[this.#length++] = value
  }

  append(values: Uint32Array): void {
    for (const value of values) this.push(value)
  }

  replace(values: Uint32Array): void {
    this.#length = 0
    this.append(values)
  }

  at(place: number): number {
    return this.#values[place] as number
  }

  increment(place: number): void {
    this.#values[place]!++
  }

  /** All of them; later pushes do not show. */
  get all(): Uint32Array {
    return this.#values.slice(0, this.#length)
  }
}
