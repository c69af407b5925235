/** How near two texts are, for the demo's copy baseline. */

/** Levenshtein distance over UTF-16 units divided by the longer length: 0 is equal, 1 shares nothing (Levenshtein 1966; trainer evaluation uses the same). */
export function editDistance(a: string, b: string): number {
  if (a.length === 0 || b.length === 0) return a.length === b.length ? 0 : 1
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      current[j] = Math.min(substitution, previous[j]! + 1, current[j - 1]! + 1)
    }
    previous = current
  }
  return previous[b.length]! / Math.max(a.length, b.length)
}

/** An output counts as a copy of its input below this normalised edit distance (design: copyRate). */
export const copyDistance = 0.05

export const isCopy = (input: string, output: string): boolean =>
  editDistance(input.trim(), output.trim()) < copyDistance
