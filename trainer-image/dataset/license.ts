/**
 * Whether the holder of the allowed licences may use something under an SPDX expression: of "A OR B" one is enough, of
 * "A AND B" both are needed, and "A WITH E" is a licence of its own. Case does not matter. An expression that cannot be
 * read is allowed only when it is listed as it stands.
 */
export function satisfies(expression: string, allowed: readonly string[]): boolean {
  const listed = new Set(allowed.map(canonical))
  if (listed.has(canonical(expression))) return true
  const tokens = expression.match(/[()]|[^\s()]+/g) ?? []
  let next = 0
  const either = (): boolean => {
    let result = both()
    while (isWord('OR')) result = both() || result
    return result
  }
  const both = (): boolean => {
    let result = one()
    while (isWord('AND')) result = one() && result
    return result
  }
  const one = (): boolean => {
    const token = tokens[next++]
    if (token === '(') {
      const result = either()
      if (tokens[next++] !== ')') throw unreadable
      return result
    }
    if (token === undefined || token === ')' || /^(or|and|with)$/i.test(token)) throw unreadable
    return listed.has(canonical(isWord('WITH') ? `${token} with ${tokens[next++] ?? ''}` : token))
  }
  const isWord = (word: string): boolean => {
    if (tokens[next]?.toUpperCase() !== word) return false
    next++
    return true
  }
  try {
    return either() && next === tokens.length
  } catch (error) {
    if (error === unreadable) return false
    throw error
  }
}

const unreadable = new Error('not an SPDX expression')
const canonical = (text: string): string => text.trim().replace(/\s+/g, ' ').toLowerCase()
