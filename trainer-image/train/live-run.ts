import { type Checkpoint, RunReport } from '#proto/humanizer/trainer/v1/run.ts'
import { BetweenSteps } from './between-steps.ts'

/** The report of the running attempt and everyone who waits for it to change. */
export class LiveRun {
  #report: RunReport = RunReport.fromPartial({ state: 'RUN_STATE_PREPARING', exact: true })
  #sequence = 1
  #changed = Promise.withResolvers<void>()

  get report(): RunReport {
    return this.#report
  }

  /** Grows by one with each change. */
  get sequence(): number {
    return this.#sequence
  }

  update(change: Partial<RunReport>): void {
    this.#report = { ...this.#report, ...change }
    this.#sequence += 1
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  /** Shows that the trainer goes on where there is nothing else to tell: the operator takes a standing sequence for a hang. */
  readonly beat = (): void => this.update({})

  warn(message: string): void {
    if (!this.#report.warnings.includes(message)) this.update({ warnings: [...this.#report.warnings, message] })
  }

  /** The newest report whenever its sequence is above `since`; states passed while nobody read are skipped. */
  async *watch(since: number, signal: AbortSignal): AsyncGenerator<{ report: RunReport; sequence: number }> {
    const hungUp = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    let seen = since
    while (!signal.aborted) {
      if (this.#sequence > seen) {
        seen = this.#sequence
        yield { report: this.#report, sequence: seen }
      } else await Promise.race([this.#changed.promise, hungUp])
    }
  }
}

/** What callers asked the loop for; it looks at every optimizer step. */
export class Requests {
  readonly betweenSteps = new BetweenSteps()
  readonly #stop = new AbortController()
  #waiting: PromiseWithResolvers<Checkpoint>[] = []

  /** Aborts when a caller asked to stop. */
  get stop(): AbortSignal {
    return this.#stop.signal
  }

  askToStop(reason: Error): void {
    this.#stop.abort(reason)
  }

  /** Resolves with the checkpoint sealed at the next optimizer step. */
  askForCheckpoint(): Promise<Checkpoint> {
    const asked = Promise.withResolvers<Checkpoint>()
    this.#waiting.push(asked)
    return asked.promise
  }

  get wantsCheckpoint(): boolean {
    return this.#waiting.length > 0
  }

  answerCheckpoint(checkpoint: Checkpoint): void {
    for (const asked of this.#waiting.splice(0)) asked.resolve(checkpoint)
  }

  refuseAll(error: Error): void {
    for (const asked of this.#waiting.splice(0)) asked.reject(error)
  }
}
