import type { PreparationProgress } from '#proto/humanizer/trainer/v1/preparation.ts'

export type Stage = 'Reading' | 'Cleaning' | 'Deduplicating' | 'Splitting' | 'Writing'

/** What the work says of itself. */
export interface Progress {
  readonly stage: Stage
  readonly source: string
  readonly rows: number
  /** Of the whole preparation. */
  readonly percent: number
  readonly bytes?: number
  readonly totalBytes?: number
}

/** Where a preparation stands, and a way to wait for the next change. */
export interface ProgressBoard {
  readonly current: PreparationProgress
  /** Grows by one with every report. */
  readonly sequence: number
  report(progress: Progress): void
  /** Resolves when sequence is greater than `since`, or the signal aborts. */
  changed(since: number, signal: AbortSignal): Promise<void>
}

/** `now` in milliseconds, of a clock that only goes on. */
export function progressBoard(now: () => number = () => performance.now()): ProgressBoard {
  const remaining = paceOf(now)
  let current: PreparationProgress = {
    stage: 'Reading',
    source: '',
    rows: 0,
    percent: 0,
    bytes: 0,
    totalBytes: 0,
    remainingSeconds: undefined,
  }
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
      // A stage's figures stand until the next one has its own.
      const { bytes = current.bytes, totalBytes = current.totalBytes } = progress
      current = { ...progress, bytes, totalBytes, remainingSeconds: remaining(progress) }
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

/** A pace over less than this is chance. */
const FEWEST_SECONDS = 2
const FEWEST_PERCENT = 0.5

/** Seconds that are left at the pace of the stage; while that is young, at the pace of the stage before. */
function paceOf(now: () => number): (progress: Progress) => number | undefined {
  let stage: Stage = 'Reading'
  let began = now()
  let from = 0
  let secondsPerPercent: number | undefined
  return (progress) => {
    if (progress.stage !== stage) {
      stage = progress.stage
      began = now()
      from = progress.percent
    }
    const seconds = (now() - began) / 1000
    if (seconds >= FEWEST_SECONDS && progress.percent - from >= FEWEST_PERCENT)
      secondsPerPercent = seconds / (progress.percent - from)
    return secondsPerPercent === undefined ? undefined : (100 - progress.percent) * secondsPerPercent
  }
}
