/**
 * Finds stop strings in streamed text. Text that may be the beginning of a stop string is held back until it is
 * known not to be one, so a stop string is never shown in part.
 */
export class StopScanner {
  readonly #stops: readonly string[]
  #held = ''

  constructor(stops: readonly string[]) {
    this.#stops = stops
  }

  /** Adds text and returns what may be shown now. After `stopped` nothing more may be pushed. */
  push(text: string): { readonly text: string; readonly stopped: boolean } {
    const seen = this.#held + text
    const found = this.#stops.map((stop) => seen.indexOf(stop)).filter((index) => index >= 0)
    if (found.length > 0) {
      this.#held = ''
      return { text: seen.slice(0, Math.min(...found)), stopped: true }
    }
    const heldLength = Math.max(0, ...this.#stops.map((stop) => overlap(seen, stop)))
    this.#held = seen.slice(seen.length - heldLength)
    return { text: seen.slice(0, seen.length - heldLength), stopped: false }
  }

  /** The text still held when the answer ends for another reason. */
  end(): string {
    const held = this.#held
    this.#held = ''
    return held
  }
}

/** Length of the longest end of `text` that is a proper beginning of `stop`. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length
  }
  return 0
}
