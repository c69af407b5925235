/**
 * Levenshtein distance over UTF-16 units divided by the longer length (Levenshtein 1966): 0 is equal, 1 shares nothing. What is
 * above `limit` is told as 1, and costs only the band of the table that can stay below it.
 */
export function editDistance(a: string, b: string, limit = 1): number {
  const longer = Math.max(a.length, b.length)
  if (longer === 0) return 0
  const band = Math.floor(limit * longer)
  if (Math.abs(a.length - b.length) > band) return 1
  const far = longer + 1
  let before = Uint32Array.from({ length: b.length + 1 }, (_, j) => (j <= band ? j : far))
  let row = new Uint32Array(b.length + 1)
  for (let i = 1; i <= a.length; i++) {
    row.fill(far)
    const [first, last] = [Math.max(0, i - band), Math.min(b.length, i + band)]
    if (first === 0) row[0] = i
    for (let j = Math.max(1, first); j <= last; j++) {
      const substituted = before[j - 1]! + (a.charCodeAt(i - 1) === b.charCodeAt(j - 1) ? 0 : 1)
      row[j] = Math.min(substituted, before[j]! + 1, row[j - 1]! + 1)
    }
    ;[before, row] = [row, before]
  }
  const distance = before[b.length]!
  return distance > band ? 1 : distance / longer
}

/** An output counts as a copy of its input below this distance. */
export const copyDistance = 0.05

export const isCopy = (input: string, output: string): boolean =>
  editDistance(input.trim(), output.trim(), copyDistance) < copyDistance
