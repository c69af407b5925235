import type { Row } from './read.ts'
import type { Condition } from './source.ts'

/** Which rows are human-written, and which values the columns had that decide it. */
export interface HumanFilter {
  /** Columns to be read, in the order that `isHuman` expects them. */
  readonly columns: readonly string[]
  isHuman(values: Row): boolean
  /** For a person whose filter matched nothing: per column its values so far, most frequent first, at most 20. */
  valuesSeen(): string
}

/** Distinct values remembered per column. */
const REMEMBERED = 1000

export function humanFilter(conditions: readonly Condition[]): HumanFilter {
  const tests = conditions.map(({ values }) => ({
    texts: new Set(values),
    numbers: new Set(values.filter(isNumber).map(Number)),
  }))
  const seen = conditions.map(() => new Map<string, number>())
  return {
    columns: conditions.map(({ column }) => column),
    isHuman(row) {
      let human = true
      tests.forEach(({ texts, numbers }, i) => {
        const value = row[i]
        const counts = seen[i] as Map<string, number>
        const name = value === undefined ? 'null' : value.length > 60 ? `${value.slice(0, 60)}…` : value
        const count = counts.get(name)
        if (count !== undefined || counts.size < REMEMBERED) counts.set(name, (count ?? 0) + 1)
        const matches = value !== undefined && (texts.has(value) || (isNumber(value) && numbers.has(Number(value))))
        human &&= matches
      })
      return human
    },
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

const isNumber = (text: string): boolean => /^-?\d+(\.\d+)?$/.test(text)
