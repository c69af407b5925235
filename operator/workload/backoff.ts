/** Longest wait between two attempts, in seconds. */
const LONGEST_BACKOFF = 300

/** Seconds to wait after the n-th failure in a row (1 is the first, which is tried again at once): 0, 10, 20, 40, … 300. */
export const backoffSeconds = (failures: number): number =>
  failures <= 1 ? 0 : Math.min(10 * 2 ** (failures - 2), LONGEST_BACKOFF)

/** Seconds left of a wait that began at `since`; 0 when it is over. */
export const secondsLeft = (since: string | undefined, wait: number, now: Date): number =>
  since === undefined ? 0 : Math.max(0, Math.ceil((Date.parse(since) + wait * 1000 - now.getTime()) / 1000))
