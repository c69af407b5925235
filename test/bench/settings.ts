/** What the caller of `make bench` may choose. */

/** ROWS: a regular expression of the works to measure; absent: all. */
const rows = process.env['ROWS'] ?? ''

/** The entries of which a work is chosen; throws when there is none. */
export function chosen<T extends { readonly works: readonly string[] }>(entries: readonly T[]): T[] {
  const wanted = new RegExp(rows)
  const found = entries.filter(({ works }) => works.some((work) => wanted.test(work)))
  if (found.length > 0) return found
  const works = entries.flatMap((entry) => entry.works)
  throw new RangeError(`ROWS is ${rows}; expected a regular expression of one of: ${works.join('; ')}`)
}

/** SHORT=1 shows in a minute that the programs run; its figures mean nothing. */
export const isShort = process.env['SHORT'] === '1'

/** PAIRS: rounds of each side that are counted, after one that warms up. */
export const pairs = isShort ? 1 : Number(process.env['PAIRS'] ?? 3)
if (!Number.isInteger(pairs) || pairs < 1)
  throw new RangeError(`PAIRS is ${process.env['PAIRS']}; expected a whole number from 1`)

/** PEERS=none: only what needs no Python. */
export const withPeers = process.env['PEERS'] !== 'none'

const counted = (name: string, usual: number, short: number): number => {
  const value = isShort ? short : Number(process.env[name] ?? usual)
  if (Number.isInteger(value) && value >= 1) return value
  throw new RangeError(`${name} is ${process.env[name]}; expected a whole number from 1`)
}

/** DOCUMENTS: of the near-duplicate rows and of the whole preparation. */
export const documents = counted('DOCUMENTS', 1_000_000, 2000)

/** MEGABYTES: of the files that are read and cleaned. */
export const megabytes = counted('MEGABYTES', 2000, 4)
