/** A part of two texts: in both, only in the second, or only in the first. */
export interface Part {
  readonly kind: 'same' | 'added' | 'removed'
  readonly text: string
}

/** Words with the white space after them. */
const wordsOf = (text: string): string[] => text.match(/\S+\s*|^\s+/g) ?? []
const bare = (word: string): string => word.trimEnd()

/** How the second text comes from the first, word by word: what a longest common subsequence keeps, and what it does not. */
export function difference(before: string, after: string): Part[] {
  const [a, b] = [wordsOf(before), wordsOf(after)]
  const table = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1))
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i]![j] =
        bare(a[i]!) === bare(b[j]!) ? table[i + 1]![j + 1]! + 1 : Math.max(table[i + 1]![j]!, table[i]![j + 1]!)
  const parts: { kind: Part['kind']; text: string }[] = []
  const add = (kind: Part['kind'], text: string): void => {
    const last = parts.at(-1)
    if (last?.kind === kind) last.text += text
    else parts.push({ kind, text })
  }
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && bare(a[i]!) === bare(b[j]!)) {
      add('same', b[j++]!)
      i += 1
    } else if (j === b.length || (i < a.length && table[i + 1]![j]! >= table[i]![j + 1]!)) add('removed', a[i++]!)
    else add('added', b[j++]!)
  }
  return parts
}
