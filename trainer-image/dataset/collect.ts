import { createHash } from 'node:crypto'
import type { DuckDBConnection } from '@duckdb/node-api'
import type { Cleaning, DataCounts } from '#proto/humanizer/trainer/v1/preparation.ts'
import { JobFailure } from '../job/failure.ts'
import type { NearDuplicateIndex } from '../native/dedup.ts'
import { clean, normalForm } from './cleaning.ts'
import { emptyCounts, type Removal } from './funnel.ts'
import { type HumanFilter, humanFilter } from './human.ts'
import type { LocatedSource } from './locate.ts'
import { readRows, requireSchema } from './read.ts'
import type { Spool, SpooledText } from './spool.ts'

/** A removed text as the report shows it. */
export interface Example {
  readonly id: string
  readonly rule: Removal
  /** Beginning of the cleaned text. */
  readonly excerpt: string
  /** The text that was kept in its place. */
  readonly duplicateOf?: string
}

export interface Collected {
  readonly counts: readonly DataCounts[]
  /** By ordinal in the spool: index of the source. */
  readonly sourceOf: readonly number[]
  /** By ordinal: ordinal of the first text with the same normal form; differs from its own only when exact is off. */
  readonly sameAs: readonly number[]
  /** By ordinal: texts that were removed as exact copies of it. */
  readonly copies: readonly number[]
  readonly examples: readonly Example[]
}

const EXAMPLES_PER_RULE = 3

/**
 * Reads the sources one after the other, keeps what is human-written and survives cleaning and the exact-duplicate search, and hands it
 * to the spool and the near-duplicate index. Ids are "<source>-<row number>", so the first of several equal texts is the one of
 * the earliest source and row.
 */
export async function collect(
  connection: DuckDBConnection,
  sources: readonly LocatedSource[],
  rules: { readonly cleaning: Cleaning; readonly exact: boolean },
  spool: Spool,
  near: NearDuplicateIndex | undefined,
  watch: { readonly signal: AbortSignal; readonly onRows: (source: number, rows: number) => void },
): Promise<Collected> {
  const counts = sources.map(emptyCounts)
  const sourceOf: number[] = []
  const sameAs: number[] = []
  const copies: number[] = []
  const examples: Example[] = []
  const shown = new Map<Removal, number>()
  const ordinals = new Map<string, number>()
  const ids: string[] = []

  const example = (rule: Removal, id: string, text: string, duplicateOf?: string): void => {
    const seen = shown.get(rule) ?? 0
    if (seen >= EXAMPLES_PER_RULE) return
    shown.set(rule, seen + 1)
    examples.push({ id, rule, excerpt: excerptOf(text), ...(duplicateOf !== undefined && { duplicateOf }) })
  }

  // Every schema before the first row: a wrong column of the last source must not cost the reading of all others.
  for (const { texts, textColumn, human } of sources)
    for (const file of texts) await requireSchema(connection, file, [...human.map(({ column }) => column), textColumn])

  for (const [index, source] of sources.entries()) {
    const count = counts[index] as DataCounts
    const filter = humanFilter(source.human)
    for (const file of source.texts) {
      if (count.read >= source.limit) break
      for await (const all of readRows(connection, file, [...filter.columns, source.textColumn])) {
        watch.signal.throwIfAborted()
        const rows = all.slice(0, source.limit - count.read)
        const kept: SpooledText[] = []
        const normalForms: string[] = []
        for (const row of rows) {
          count.read++
          const human = filter.isHuman(row)
          if (human === 'unknown') throw unknownValue(source, file.path, count.read, filter)
          if (!human) {
            count.notHuman++
            continue
          }
          const id = `${source.name}-${count.read}`
          const cleaned = clean(row.at(-1) ?? '', rules.cleaning)
          if (cleaned.kind === 'removed') {
            count[cleaned.rule]++
            example(cleaned.rule, id, cleaned.text)
            continue
          }
          const normal = normalForm(cleaned.text)
          const key = createHash('md5').update(normal).digest('base64')
          const first = ordinals.get(key)
          if (first !== undefined && rules.exact) {
            count.exactDuplicates++
            copies[first] = (copies[first] ?? 0) + 1
            example('exactDuplicates', id, cleaned.text, ids[first])
            continue
          }
          const ordinal = ids.push(id) - 1
          if (first === undefined) ordinals.set(key, ordinal)
          sameAs.push(first ?? ordinal)
          sourceOf.push(index)
          copies.push(0)
          kept.push({ id, text: cleaned.text })
          normalForms.push(normal)
        }
        await spool.append(kept)
        await near?.add(normalForms)
        watch.onRows(index, count.read)
        if (count.read >= source.limit) break
      }
    }
    requireHumanRows(source, count, filter)
  }
  return { counts, sourceOf, sameAs, copies, examples }
}

export const excerptOf = (text: string): string => {
  const line = text.replace(/\s+/g, ' ')
  const start = [...line.slice(0, 400)].slice(0, 120).join('')
  return start.length < line.length ? `${start}…` : start
}

/** A label that is neither that of a human nor a known other one: the source has changed, or is not what we take it for. */
const unknownValue = ({ name, human }: LocatedSource, path: string, row: number, filter: HumanFilter): JobFailure => {
  const known = human
    .filter(({ others }) => others !== undefined)
    .map(({ column, values, others = [] }) => `${column} in [${[...values, ...others].join(', ')}]`)
  return new JobFailure(
    'SourceInvalid',
    `source ${name}: row ${row}, in ${path}, has an unknown value: known is ${known.join(' and ')}; ${filter.valuesSeen()} (sources[].keep says which rows are human-written)`,
  )
}

/** A source that gave no row at all, none that is human-written or none of a value asked for is a mistake in the spec. */
function requireHumanRows(source: LocatedSource, count: DataCounts, filter: HumanFilter): void {
  if (count.read === 0) {
    const paths = source.texts.map(({ path }) => path)
    throw new JobFailure(
      'SourceInvalid',
      `source ${source.name}: its files have no rows: ${paths.slice(0, 8).join(', ')}`,
    )
  }
  const limited = Number.isFinite(source.limit) ? ` (sources[].limit is ${source.limit})` : ''
  const wanted = source.human.map(({ column, values }) => `${column} in [${values.join(', ')}]`).join(' and ')
  if (count.notHuman === count.read)
    throw new JobFailure(
      'SourceInvalid',
      `source ${source.name}: none of its ${count.read} rows${limited} is human-written: keep wants ${wanted}; ${filter.valuesSeen()}`,
    )
  // What lies beyond the limit may well hold it.
  const unseen = filter.unseen()
  if (unseen !== '' && count.read < source.limit)
    throw new JobFailure(
      'SourceInvalid',
      `source ${source.name}: none of its ${count.read} rows has ${unseen}; ${filter.valuesSeen()}`,
    )
}
