import type { PreparationProgress } from '#proto/humanizer/trainer/v1/preparation.ts'

export type Stage = 'Reading' | 'Cleaning' | 'Deduplicating' | 'Splitting' | 'Writing'

/** Where a preparation stands, and a way to wait for the next change. */
export interface ProgressBoard {
  readonly current: PreparationProgress
  /** Grows by one with every report. */
  readonly sequence: number
  report(progress: PreparationProgress): void
  /** Resolves when sequence is greater than `since`, or the signal aborts. */
  changed(since: number, signal: AbortSignal): Promise<void>
}

export function progressBoard(): ProgressBoard {
  let current: PreparationProgress = { stage: 'Reading', source: '', rows: 0, percent: 0 }
  let sequence = 0
  let next = Promise.withResolvers<void>()
  return {
    get current() {
      return current
    },
    get sequence() {
      return sequence
    },
    report(progress) {
      current = progress
      sequence++
      next.resolve()
      next = Promise.withResolvers()
    },
    async changed(since, signal) {
      while (sequence <= since && !signal.aborted) {
        const aborted = Promise.withResolvers<void>()
        const onAbort = () => aborted.resolve()
        signal.addEventListener('abort', onAbort, { once: true })
        await Promise.race([next.promise, aborted.promise])
        signal.removeEventListener('abort', onAbort)
      }
    },
  }
}
