import type { Row } from './read.ts'
import type { Condition } from './source.ts'

/** Which rows are human-written, and which values the columns had that decide it. */
export interface HumanFilter {
  /** Columns to be read, in the order that `isHuman` expects them. */
  readonly columns: readonly string[]
  /** Whether the row is human-written; "unknown" when a column holds a value that the condition lists neither way. */
  isHuman(values: Row): boolean | 'unknown'
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
    isHuman(row) {
      let human = true
      let known = true
      tests.forEach(({ wanted, other }, i) => {
        const value = row[i]
        const counts = seen[i] as Map<string, number>
        const name = value === undefined ? 'null' : value.length > 60 ? `${value.slice(0, 60)}…` : value
        const count = counts.get(name)
        if (count !== undefined || counts.size < REMEMBERED) counts.set(name, (count ?? 0) + 1)
        const matches = wanted.has(value)
        human &&= matches
        if (other !== undefined && value !== undefined && !matches) known &&= other.has(value)
      })
      return known ? human : 'unknown'
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
