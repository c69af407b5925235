/** How long work and its caller keep touch: it ends on `signal`, and shows by `beat` that it goes on. */
export interface Work {
  readonly signal: AbortSignal
  readonly beat: () => void
}

/** The promise, or at once the abort's reason: what is in flight is left behind, so it must change nothing that is saved. */
export async function leavingOn<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  work.catch(() => {}) // the abort may win; then nobody waits for it
  const aborted = Promise.withResolvers<never>()
  const leave = (): void => aborted.reject(signal.reason)
  if (signal.aborted) leave()
  signal.addEventListener('abort', leave, { once: true })
  try {
    return await Promise.race([aborted.promise, work])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
