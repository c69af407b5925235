import type { Condition } from './source.ts'

export type Author = 'human' | 'machine' | 'other' | 'unknown'
/** Of the columns that decide, in their order. */
export type Values = readonly (string | undefined)[]

/** Which rows are human-written, and which values the columns had that decide it. */
export interface HumanFilter {
  /** Columns to be read, by the numbers that `judge` asks for. */
  readonly columns: readonly string[]
  /**
   * Who wrote a row with these values. "machine": only the first condition, which is about that, does not hold. "other": another does not, so the text
   * was changed. "unknown": a column holds a value that its condition lists neither way.
   */
  authorOf(values: Values): Author
  /** Remembers the values of so many rows, for the two below. */
  see(values: Values, rows: number): void
  /** What `authorOf` says of a row, which is seen. */
  judge(valueIn: (column: number) => string | undefined): Author
  /** What the conditions want that no row had: "label in [human]"; empty when every wanted value was seen. */
  unseen(): string
  /** For a person whose filter matched nothing: per column its values so far, most frequent first, at most 20. */
  valuesSeen(): string
  /** What was seen so far, for a new filter of the same conditions to go on from. */
  seen(): SeenValues
  restore(seen: SeenValues): void
}

/** Of each condition: values with the rows that had them, and the wanted ones among them. */
export type SeenValues = readonly {
  readonly rows: readonly (readonly [string, number])[]
  readonly matched: readonly string[]
}[]

/** Distinct values remembered per column. */
const REMEMBERED = 1000

export function humanFilter(conditions: readonly Condition[]): HumanFilter {
  const tests = conditions.map(({ values, others }) => ({ wanted: listed(values), other: others && listed(others) }))
  const seen = conditions.map(() => new Map<string, number>())
  const record = (i: number, value: string | undefined, rows: number): void => {
    const counts = seen[i] as Map<string, number>
    const name = value === undefined ? 'null' : value.length > 60 ? `${value.slice(0, 60)}…` : value
    const count = counts.get(name)
    if (count !== undefined || counts.size < REMEMBERED) counts.set(name, (count ?? 0) + rows)
    tests[i]?.wanted.match(value)
  }
  const authorOf = (values: Values): Author => {
    let others = true
    let byHuman = true
    let known = true
    tests.forEach(({ wanted, other }, i) => {
      const value = values[i]
      const matches = wanted.has(value)
      if (i === 0) byHuman = matches
      else others &&= matches
      if (other !== undefined && value !== undefined && !matches) known &&= other.has(value)
    })
    if (!known) return 'unknown'
    if (!others) return 'other'
    return byHuman ? 'human' : values[0] === undefined ? 'other' : 'machine'
  }
  const see = (values: Values, rows: number): void => {
    for (const [i, value] of values.entries()) record(i, value, rows)
  }
  return {
    columns: conditions.map(({ column }) => column),
    authorOf,
    see,
    judge(valueIn) {
      const values = conditions.map((_, i) => valueIn(i))
      see(values, 1)
      return authorOf(values)
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
    seen: () => seen.map((rows, i) => ({ rows: [...rows], matched: tests[i]?.wanted.matched() ?? [] })),
    restore(before) {
      for (const [i, { rows, matched }] of before.entries()) {
        for (const [name, count] of rows) seen[i]?.set(name, count)
        for (const value of matched) tests[i]?.wanted.match(value)
      }
    },
  }
}

/** A list of values as a set; numbers are compared as numbers. */
function listed(values: readonly string[]) {
  const texts = new Map(values.map((value) => [value, value]))
  const numbers = new Map(values.filter(isNumber).map((value) => [Number(value), value]))
  const matched = new Set<string>()
  const entryOf = (value: string | undefined): string | undefined =>
    value === undefined ? undefined : (texts.get(value) ?? (isNumber(value) ? numbers.get(Number(value)) : undefined))
  return {
    has: (value: string | undefined): boolean => entryOf(value) !== undefined,
    match(value: string | undefined): void {
      const entry = entryOf(value)
      if (entry !== undefined) matched.add(entry)
    },
    matched: (): string[] => [...matched],
    unmatched: (): string[] => values.filter((value) => !matched.has(value)),
  }
}

const isNumber = (text: string): boolean => /^-?\d+(\.\d+)?$/.test(text)
