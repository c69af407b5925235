/** Delay before the n-th retry in a row, in milliseconds, without jitter. */
const backoffMs = (failures: number): number => Math.min(100 * 2 ** (failures - 1), 60_000)

/**
 * Keys that wait for work.
 * - A key is held once, however often it is added.
 * - A key is worked on by one worker at a time: added again meanwhile, it comes back when that one is done.
 * - Delayed adds of a key coalesce into the earliest; taking the key cancels it, because the work decides anew.
 */
export class WorkQueue<Key extends string> {
  readonly #ready = new Set<Key>() // in order of arrival
  readonly #working = new Set<Key>()
  readonly #again = new Set<Key>() // added while being worked on
  readonly #delayed = new Map<Key, { readonly due: number; readonly timer: NodeJS.Timeout }>()
  readonly #failures = new Map<Key, number>()
  readonly #waiters: ((key: Key | undefined) => void)[] = []
  readonly #random: () => number
  #closed = false

  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  /** Keys ready for a worker. */
  get depth(): number {
    return this.#ready.size
  }

  /** Keys being worked on. */
  get working(): number {
    return this.#working.size
  }

  add(key: Key): void {
    if (this.#closed) return
    if (this.#working.has(key)) {
      this.#again.add(key)
      return
    }
    const waiter = this.#waiters.shift()
    if (waiter) waiter(this.#take(key))
    else this.#ready.add(key)
  }

  addAfter(key: Key, seconds: number): void {
    if (seconds <= 0) {
      this.add(key)
      return
    }
    if (this.#closed) return
    const due = performance.now() + seconds * 1000
    const planned = this.#delayed.get(key)
    if (planned && planned.due <= due) return
    clearTimeout(planned?.timer)
    const timer = setTimeout(() => {
      this.#delayed.delete(key)
      this.add(key)
    }, seconds * 1000)
    timer.unref()
    this.#delayed.set(key, { due, timer })
  }

  /** Adds the key after its backoff: 0.1 s doubling to 60 s, less up to a quarter at random. Resolves to the delay in seconds. */
  retry(key: Key): number {
    const failures = (this.#failures.get(key) ?? 0) + 1
    this.#failures.set(key, failures)
    const seconds = (backoffMs(failures) * (1 - this.#random() / 4)) / 1000
    this.addAfter(key, seconds)
    return seconds
  }

  /** The key's work went well: its next failure starts from the shortest backoff. */
  succeeded(key: Key): void {
    this.#failures.delete(key)
  }

  /** Drops all that is kept for a key, its place in the queue included. */
  forget(key: Key): void {
    this.#failures.delete(key)
    this.#ready.delete(key)
    this.#again.delete(key)
    clearTimeout(this.#delayed.get(key)?.timer)
    this.#delayed.delete(key)
  }

  /** The next key, for this caller alone until done(key). Undefined once the queue is closed. */
  next(): Promise<Key | undefined> {
    if (this.#closed) return Promise.resolve(undefined)
    for (const key of this.#ready) {
      this.#ready.delete(key)
      return Promise.resolve(this.#take(key))
    }
    return new Promise((resolve) => this.#waiters.push(resolve))
  }

  done(key: Key): void {
    this.#working.delete(key)
    if (this.#again.delete(key)) this.add(key)
  }

  /** Ends it: what waits is dropped, callers of next() get undefined. Work under way ends with done(). */
  close(): void {
    this.#closed = true
    for (const { timer } of this.#delayed.values()) clearTimeout(timer)
    this.#delayed.clear()
    this.#ready.clear()
    this.#again.clear()
    for (const waiter of this.#waiters.splice(0)) waiter(undefined)
  }

  #take(key: Key): Key {
    this.#working.add(key)
    clearTimeout(this.#delayed.get(key)?.timer)
    this.#delayed.delete(key)
    return key
  }
}
