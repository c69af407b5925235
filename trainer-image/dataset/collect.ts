import type { DuckDBConnection } from '@duckdb/node-api'
import type { Cleaning, DataCounts } from '#proto/humanizer/trainer/v1/preparation.ts'
import { JobFailure } from '../job/failure.ts'
import { beginning, hasMojibake } from './characters.ts'
import { clean, normalForm } from './cleaning.ts'
import type { EvaluationTexts } from './decontaminate.ts'
import { FirstOfEqual } from './exact.ts'
import { emptyCounts, type Removal, removals } from './funnel.ts'
import { type HumanFilter, humanFilter } from './human.ts'
import { binOf, noLengths } from './lengths.ts'
import type { LocatedSource } from './locate.ts'
import { type MachineText, MachineTexts } from './machine-texts.ts'
import { Numbers } from './numbers.ts'
import { readRows, requireSchema } from './read.ts'
import type { Place } from './reading.ts'
import { Drawn } from './sampled.ts'
import type { SpooledText, SpoolWriter } from './spool.ts'

/** A removed text as the report shows it. */
export interface Example {
  readonly id: string
  readonly rule: Removal
  /** Beginning of the cleaned text. */
  readonly excerpt: string
  /** The text that was kept in its place, or the evaluation text that it is like. */
  readonly duplicateOf?: string
}

export interface Collected {
  readonly counts: readonly DataCounts[]
  /** By ordinal in the spool: index of the source. */
  readonly sourceOf: Uint32Array
  /** By ordinal: its row in the source, from 1. */
  readonly rowOf: Uint32Array
  /** By ordinal: ordinal of the first text with the same normal form; differs from its own only when exact is off. */
  readonly sameAs: Uint32Array
  /** By ordinal: ordinal of the first text of its group. */
  readonly groupOf: Uint32Array
  /** By ordinal: texts that were removed as exact copies of it. */
  readonly copies: Uint32Array
  /** Some of each rule and source, drawn by their names. */
  readonly examples: readonly Example[]
  /** By source: how many human-written texts cleaning left of each length (lengths.ts). */
  readonly lengths: readonly (readonly number[])[]
  readonly machineTexts: readonly MachineText[]
  /** By source: texts that passed cleaning and look wrongly decoded. */
  readonly mojibake: readonly number[]
}

/** Of each source. */
export const EXAMPLES_PER_RULE = 3

/** How a row is named: by its source and its place there. */
export const idOf = (source: { readonly name: string }, row: number | ''): string => `${source.name}-${row}`

/**
 * Reads the sources one after the other, keeps what is human-written and survives cleaning and the exact-duplicate search, and hands it
 * to the spool. So the first of several equal texts is the one of the earliest source and row.
 */
export async function collect(
  connection: DuckDBConnection,
  sources: readonly LocatedSource[],
  rules: {
    readonly cleaning: Cleaning
    readonly exact: boolean
    readonly seed: number
    readonly evaluation?: EvaluationTexts | undefined
  },
  spool: SpoolWriter,
  watch: { readonly signal: AbortSignal; readonly onRows: (...place: Parameters<Place>) => void },
): Promise<Collected> {
  const counts = sources.map(emptyCounts)
  const sourceOf = new Numbers()
  const rowOf = new Numbers()
  const sameAs = new Numbers()
  const groupOf = new Numbers()
  const copies = new Numbers()
  const mojibake = sources.map(() => 0)
  const lengths = sources.map(noLengths)
  const examples = new Drawn<Example>(rules.seed, EXAMPLES_PER_RULE)
  const texts = new FirstOfEqual()
  const groups = new FirstOfEqual()
  const machine = new MachineTexts(rules.seed, rules.cleaning)

  // Every schema before the first row: a wrong column of the last source must not cost the reading of all others.
  for (const source of sources)
    for (const file of source.texts) await requireSchema(connection, file, columnsOf(source))

  for (const [index, source] of sources.entries()) {
    const count = counts[index] as DataCounts
    const filter = humanFilter(source.human)
    const wanted = columnsOf(source)
    const [textAt, inputAt, groupAt] = [source.textColumn, source.inputColumn, source.groupColumn].map((name) =>
      wanted.indexOf(name),
    ) as [number, number, number]
    const keys = Object.fromEntries(removals.map((rule) => [rule, `${rule} ${source.name}`])) as Record<Removal, string>
    const example = (rule: Removal, id: string, text: () => string, duplicateOf?: string): void =>
      examples.offer(keys[rule], id, () => ({
        id,
        rule,
        excerpt: excerptOf(text()),
        ...(duplicateOf !== undefined && { duplicateOf }),
      }))
    for (const [place, file] of source.texts.entries()) {
      const before = count.read
      if (before >= source.limit) break
      let share = 0
      const onShare = (read: number): void => {
        share = read
      }
      const selection = {
        human: source.human,
        rows: source.limit - before,
        shown: { seed: rules.seed, wanted: EXAMPLES_PER_RULE, prefix: idOf(source, ''), before },
        summed: { prefix: machine.prefix, machine: textAt, ...(inputAt >= 0 && { human: inputAt }) },
      }
      for await (const rows of readRows(connection, file, wanted, onShare, selection)) {
        watch.signal.throwIfAborted()
        const { value, sum, leftOut } = rows
        for (const { values, count: others } of leftOut ?? []) {
          filter.see(values, others)
          count.notHuman += others
        }
        const kept: SpooledText[] = []
        for (let row = 0; row < rows.count; row++) {
          const number = before + rows.number(row) + 1
          if (number > source.limit) break
          const id = idOf(source, number)
          const values = source.human.map((_, column) => value(row, column))
          const author = filter.authorOf(values)
          const isCounted = author === 'other' && leftOut !== undefined
          if (!isCounted) filter.see(values, 1)
          if (author === 'unknown') throw unknownValue(source, file.path, number, filter)
          if (author !== 'human') {
            if (!isCounted) count.notHuman++
            example('notHuman', id, () => value(row, textAt) ?? '')
            if (author === 'machine') machine.offer(id, source.name, () => value(row, textAt) ?? '', sum?.(row, textAt))
            continue
          }
          const paired = value(row, inputAt) ?? ''
          if (paired !== '') machine.offer(id, source.name, () => paired, sum?.(row, inputAt))
          const cleaned = clean(value(row, textAt) ?? '', rules.cleaning)
          ;(lengths[index] as number[])[binOf(cleaned.characters)]! += 1
          if (cleaned.kind === 'removed') {
            count[cleaned.rule]++
            example(cleaned.rule, id, () => cleaned.text)
            continue
          }
          if (hasMojibake(value(row, textAt) ?? '')) mojibake[index] = (mojibake[index] ?? 0) + 1
          const input = paired === '' ? undefined : clean(paired, rules.cleaning)
          const trained = input?.kind === 'kept' ? [cleaned.text, input.text] : [cleaned.text]
          const overlap = rules.evaluation && trained.map((text) => rules.evaluation?.overlap(text)).find(Boolean)
          if (overlap) {
            count.contaminated++
            example('contaminated', id, () => `… ${overlap.run} …`, overlap.id)
            continue
          }
          const normal = normalForm(cleaned.text)
          const ordinal = sameAs.length
          const first = texts.find(normal, ordinal)
          if (first !== ordinal && rules.exact) {
            count.exactDuplicates++
            if (sourceOf.at(first) !== index) count.crossSourceDuplicates++
            copies.increment(first)
            const original = sources[sourceOf.at(first)] as LocatedSource
            example('exactDuplicates', id, () => cleaned.text, idOf(original, rowOf.at(first)))
            continue
          }
          sameAs.push(first)
          sourceOf.push(index)
          rowOf.push(number)
          copies.push(0)
          const group = value(row, groupAt)
          groupOf.push(group === undefined ? ordinal : groups.find(`${source.name}\0${group}`, ordinal))
          kept.push({ id, text: cleaned.text, input: input?.kind === 'kept' ? input.text : '' })
        }
        await spool.append(kept)
        count.read = Math.min(before + rows.read, source.limit)
        watch.onRows(index, count.read, place, share)
        if (count.read >= source.limit) break
      }
    }
    requireHumanRows(source, count, filter)
  }
  return {
    counts,
    sourceOf: sourceOf.all,
    rowOf: rowOf.all,
    sameAs: sameAs.all,
    groupOf: groupOf.all,
    copies: copies.all,
    examples: examples.all,
    lengths,
    machineTexts: await machine.sample(),
    mojibake,
  }
}

/** Those that decide who wrote a row come first, as the human filter wants them. */
const columnsOf = ({ human, textColumn, inputColumn, groupColumn }: LocatedSource): readonly string[] => {
  const others = [textColumn, inputColumn, groupColumn].filter((name) => name !== '')
  return [...human.map(({ column }) => column), ...others]
}

export const excerptOf = (text: string): string => beginning(text.slice(0, 4000).replace(/\s+/g, ' '), 280)

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
