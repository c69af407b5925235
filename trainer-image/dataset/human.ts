import type { Condition } from './source.ts'

/** Which rows are human-written, and which values the columns had that decide it. */
export interface HumanFilter {
  /** Columns to be read, by the numbers that `judge` asks for. */
  readonly columns: readonly string[]
  /**
   * Who wrote the row. "machine": only the first condition, which is about that, does not hold. "other": another does not, so the text
   * was changed. "unknown": a column holds a value that its condition lists neither way.
   */
  judge(valueIn: (column: number) => string | undefined): 'human' | 'machine' | 'other' | 'unknown'
  /** What the conditions want that no row had: "label in [human]"; empty when every wanted value was seen. */
  unseen(): string
  /** For a person whose filter matched nothing: per column its values so far, most frequent first, at most 20. */
  valuesSeen(): string
}

/** Distinct values remembered per column. */
const REMEMBERED = 1000

export function humanFilter(conditions: readonly Condition[]): HumanFilter {
  const tests = conditions.map(({ values, others }) => ({ wanted: listed(values), other: others && listed(others) }))
  const seen = conditions.map(() => new Map<string, number>())
  return {
    columns: conditions.map(({ column }) => column),
    judge(valueIn) {
      let others = true
      let byHuman = true
      let known = true
      let author: string | undefined
      tests.forEach(({ wanted, other }, i) => {
        const value = valueIn(i)
        if (i === 0) author = value
        const counts = seen[i] as Map<string, number>
        const name = value === undefined ? 'null' : value.length > 60 ? `${value.slice(0, 60)}…` : value
        const count = counts.get(name)
        if (count !== undefined || counts.size < REMEMBERED) counts.set(name, (count ?? 0) + 1)
        const matches = wanted.has(value)
        if (i === 0) byHuman = matches
        else others &&= matches
        if (other !== undefined && value !== undefined && !matches) known &&= other.has(value)
      })
      if (!known) return 'unknown'
      if (!others) return 'other'
      return byHuman ? 'human' : author === undefined ? 'other' : 'machine'
    },
    unseen: () =>
      conditions
        .map(({ column }, i) => ({ column, values: (tests[i] as (typeof tests)[number]).wanted.unmatched() }))
        .filter(({ values }) => values.length > 0)
        .map(({ column, values }) => `${column} in [${values.join(', ')}]`)
        .join(' and '),
    valuesSeen: () =>
      conditions
        .map(({ column }, i) => {
          const counts = [...(seen[i] as Map<string, number>)].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
          const shown = counts.slice(0, 20).map(([value]) => `"${value}"`)
          return `${column} has ${shown.join(', ')}${counts.length > 20 ? ', …' : ''}`
        })
        .join('; '),
  }
}

/** A list of values as a set; numbers are compared as numbers. */
function listed(values: readonly string[]) {
  const texts = new Map(values.map((value) => [value, value]))
  const numbers = new Map(values.filter(isNumber).map((value) => [Number(value), value]))
  const matched = new Set<string>()
  return {
    has(value: string | undefined): boolean {
      if (value === undefined) return false
      const entry = texts.get(value) ?? (isNumber(value) ? numbers.get(Number(value)) : undefined)
      if (entry !== undefined) matched.add(entry)
      return entry !== undefined
    },
    unmatched: (): string[] => values.filter((value) => !matched.has(value)),
  }
}

const isNumber = (text: string): boolean => /^-?\d+(\.\d+)?$/.test(text)
