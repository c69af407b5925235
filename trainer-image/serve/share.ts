/** Says of one request after another whether it is of the share: exactly that percentage, evenly (of 25 every fourth). */
export class Share {
  readonly #percent: number
  /** Hundredths of a request. */
  #due = 0

  constructor(percent: number) {
    this.#percent = percent
  }

  next(): boolean {
    this.#due += this.#percent
    if (this.#due < 100) return false
    this.#due -= 100
    return true
  }
}
