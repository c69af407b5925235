import type { Adapter, Model, SampledToken, Sequence } from '../native/index.ts'
import type { Generation, Piece } from './generation.ts'

/** One choice to generate, and where its pieces go. */
export interface Job {
  /** undefined is the untouched base. */
  readonly adapter: Adapter | undefined
  readonly generation: Generation
  onPiece(piece: Piece): void
}

export interface SchedulerLimits {
  /** Sequences that are computed together. */
  readonly maxRunning: number
  /** Choices that may wait for a place; more are refused with QueueFull. */
  readonly maxWaiting: number
  /** Prompt tokens of one step, shared by all prompts being read: bounds how long a decoding answer waits. */
  readonly prefillTokens: number
  /** Tokens of all caches together; when they are used up the youngest answer gives its cache back and starts over. */
  readonly cacheTokens: number
}

/** The queue is bounded: the client should come back later. */
export class QueueFull extends Error {
  override readonly name = 'QueueFull'
}

interface Slot {
  readonly job: Job
  readonly settle: (error?: unknown) => void
  readonly signal: AbortSignal
  sequence: Sequence | undefined
  /** Tokens the cache does not hold yet: the rest of the prompt, or the last sampled token. */
  pending: Int32Array
}

/**
 * Tokens each slot forwards in the next step, in order of admission. A decoding slot (one pending token) always takes
 * part; prompts share `prefillTokens`, the oldest first.
 */
export function planStep(pending: readonly number[], prefillTokens: number): number[] {
  let left = prefillTokens
  return pending.map((count) => {
    if (count === 1) return 1
    const taken = Math.min(count, left)
    left -= taken
    return taken
  })
}

/**
 * Continuous batching: one loop, each turn one `sample` over every running sequence, prompts in chunks beside answers
 * token by token. A sequence keeps the adapter it began with; adapters may differ within a batch.
 */
export class Scheduler {
  readonly #model: Model
  readonly #limits: SchedulerLimits
  #waiting: Slot[] = []
  #running: Slot[] = []
  #looping = false

  constructor(model: Model, limits: SchedulerLimits) {
    this.#model = model
    this.#limits = limits
  }

  /** Choices being computed and choices waiting. */
  get load(): { readonly running: number; readonly waiting: number } {
    return { running: this.#running.length, waiting: this.#waiting.length }
  }

  /**
   * Runs all jobs of one request and resolves when each has finished. Rejects with QueueFull before anything is begun,
   * with the engine's error, or with `signal.reason` once aborted; in each case no slot stays occupied.
   */
  async run(jobs: readonly Job[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const free = this.#limits.maxRunning + this.#limits.maxWaiting - this.#running.length - this.#waiting.length
    if (jobs.length > free) {
      throw new QueueFull(`${this.#waiting.length} answers are waiting and ${this.#running.length} are being written`)
    }
    const group = new AbortController()
    const stop = AbortSignal.any([signal, group.signal])
    const done = jobs.map((job) => this.#enqueue(job, stop))
    void this.#loop()
    try {
      await Promise.all(done)
    } catch (error) {
      group.abort(error)
      await Promise.allSettled(done)
      throw error
    }
  }

  #enqueue(job: Job, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (error?: unknown) => (error === undefined ? resolve() : reject(error))
      this.#waiting.push({ job, settle, signal, sequence: undefined, pending: job.generation.tokens() })
    })
  }

  async #loop(): Promise<void> {
    if (this.#looping) return
    this.#looping = true
    try {
      for (;;) {
        this.#dropAborted()
        this.#admit()
        if (this.#running.length === 0) return
        await this.#step()
      }
    } finally {
      this.#looping = false
    }
  }

  #dropAborted(): void {
    this.#waiting = this.#waiting.filter((slot) => {
      if (slot.signal.aborted) slot.settle(slot.signal.reason)
      return !slot.signal.aborted
    })
    for (const slot of this.#running.filter((slot) => slot.signal.aborted)) this.#leave(slot, slot.signal.reason)
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#running.length < this.#limits.maxRunning) {
      const slot = this.#waiting[0]!
      if (this.#running.length > 0 && this.#cacheUse() + slot.pending.length >= this.#limits.cacheTokens) return
      this.#waiting.shift()
      try {
        const { prompt, maxTokens } = slot.job.generation.options
        slot.sequence = this.#model.openSequence(slot.job.adapter, prompt.length + maxTokens, prompt.length)
        this.#running.push(slot)
      } catch (error) {
        slot.settle(error)
      }
    }
  }

  async #step(): Promise<void> {
    while (this.#running.length > 1 && this.#cacheUse() > this.#limits.cacheTokens) this.#preempt()
    const counts = planStep(
      this.#running.map((slot) => slot.pending.length),
      this.#limits.prefillTokens,
    )
    const turn = this.#running.flatMap((slot, index) => (counts[index]! > 0 ? [{ slot, count: counts[index]! }] : []))
    let tokens: (SampledToken | undefined)[]
    try {
      tokens = await this.#model.sample(
        turn.map(({ slot, count }) => ({
          sequence: slot.sequence!,
          tokens: slot.pending.subarray(0, count),
          choice: count === slot.pending.length ? slot.job.generation.choice() : undefined,
        })),
      )
    } catch (error) {
      for (const { slot } of turn) this.#leave(slot, error)
      return
    }
    for (const [index, { slot, count }] of turn.entries()) {
      slot.pending = slot.pending.subarray(count)
      const token = tokens[index]
      if (token && !slot.signal.aborted) this.#accept(slot, token)
    }
  }

  #accept(slot: Slot, token: SampledToken): void {
    try {
      const piece = slot.job.generation.accept(token)
      slot.pending = Int32Array.of(piece.token.id)
      slot.job.onPiece(piece)
      if (piece.finish) this.#leave(slot)
    } catch (error) {
      this.#leave(slot, error)
    }
  }

  #leave(slot: Slot, error?: unknown): void {
    this.#running = this.#running.filter((other) => other !== slot)
    slot.sequence?.close()
    slot.sequence = undefined
    slot.settle(error)
  }

  /** Takes the cache of the youngest answer; it is read again from its tokens, none of which is sent twice. */
  #preempt(): void {
    const slot = this.#running.pop()!
    slot.sequence?.close()
    slot.sequence = undefined
    slot.pending = slot.job.generation.tokens()
    this.#waiting.unshift(slot)
  }

  /** Tokens that the caches hold after the next full pass over every running sequence. */
  #cacheUse(): number {
    return this.#running.reduce((sum, slot) => sum + slot.sequence!.length + slot.pending.length, 0)
  }
}
