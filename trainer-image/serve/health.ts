import type { ServingHealth } from '#proto/humanizer/trainer/v1/serving.ts'

const WINDOW_SECONDS = 60
/** Beyond this the oldest go, and the window is shorter than it says: enough for 300 requests a second. */
const MOST_NOTES = 20_000

interface Note {
  /** Milliseconds on the clock that was given. */
  readonly at: number
  readonly digest: string
}

/** Requests answered, and those that the server failed. */
export interface Totals {
  readonly answered: number
  readonly lost: number
}

/** The requests of the last minute, by the adapter that they ran on. */
export class Health {
  readonly #now: () => number
  readonly #ended: (Note & { readonly failed: boolean })[] = []
  readonly #firstTokens: (Note & { readonly seconds: number })[] = []

  #answered = 0
  #lost = 0

  /** `now`: milliseconds, never going back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** A request has ended; `failed` by the server's fault. A client that left is not told of. */
  ended(digest: string, failed: boolean): void {
    if (failed) this.#lost++
    else this.#answered++
    this.#ended.push({ at: this.#now(), digest, failed })
    this.#forget(this.#ended)
  }

  /** A request came while nothing served. */
  turnedAway(): void {
    this.#lost++
  }

  /** Since the process began, whatever the digest. */
  get totals(): Totals {
    return { answered: this.#answered, lost: this.#lost }
  }

  firstToken(digest: string, seconds: number): void {
    this.#firstTokens.push({ at: this.#now(), digest, seconds })
    this.#forget(this.#firstTokens)
  }

  of(digest: string): ServingHealth {
    const theirs = <T extends Note>(notes: T[]): T[] => {
      this.#forget(notes)
      return notes.filter((note) => note.digest === digest)
    }
    const ended = theirs(this.#ended)
    const seconds = theirs(this.#firstTokens)
      .map((note) => note.seconds)
      .sort((a, b) => a - b)
    return {
      windowSeconds: WINDOW_SECONDS,
      requests: ended.length,
      errors: ended.filter(({ failed }) => failed).length,
      firstTokenP95Seconds: seconds[Math.ceil(seconds.length * 0.95) - 1] ?? 0,
    }
  }

  /** Notes come in order of time, so the old ones stand first. */
  #forget(notes: Note[]): void {
    const since = this.#now() - WINDOW_SECONDS * 1000
    const first = notes.findIndex(({ at }) => at > since)
    notes.splice(0, Math.max(first < 0 ? notes.length : first, notes.length - MOST_NOTES))
  }
}
