import { stat } from 'node:fs/promises'
import type { DuckDBConnection } from '@duckdb/node-api'
import type { Cleaning, DataCounts } from '#proto/humanizer/trainer/v1/preparation.ts'
import { JobFailure } from '../job/failure.ts'
import { beginning, hasMojibake } from './characters.ts'
import { clean, normalForm } from './cleaning.ts'
import {
  type Collected,
  type Collecting,
  collectedOf,
  EXAMPLES_PER_RULE,
  exampleKey,
  nothingCollected,
} from './collecting.ts'
import type { EvaluationTexts } from './decontaminate.ts'
import { type Removal, removals } from './funnel.ts'
import type { HumanFilter } from './human.ts'
import { binOf } from './lengths.ts'
import type { LocatedSource } from './locate.ts'
import { FILE_START, type FilePlace } from './part.ts'
import { readRows, requireSchema } from './read.ts'
import type { Place } from './reading.ts'
import { isLeftOut } from './selection.ts'
import { inWords } from './source.ts'
import type { SpooledText, SpoolWriter } from './spool.ts'

/** How a row is named: by its source and its place there. */
export const idOf = (source: { readonly name: string }, row: number | ''): string => `${source.name}-${row}`

export interface CollectingRules {
  readonly cleaning: Cleaning
  readonly exact: boolean
  readonly seed: number
  /** The other texts of pairs are what a model is given in training: none of them is set aside for the evaluation. */
  readonly trainsOnPairs?: boolean | undefined
  readonly evaluation?: EvaluationTexts | undefined
}

/** A place in the sources: within the file of this number over all of them. */
export interface SourcesPlace {
  readonly file: number
  readonly within: FilePlace
}

export const SOURCES_START: SourcesPlace = { file: 0, within: FILE_START }

export interface Watch {
  readonly signal: AbortSignal
  readonly onRows: (...place: Parameters<Place>) => void
}

/** Every schema before the first row: a wrong column of the last source must not cost the reading of all others. */
export async function requireSchemas(connection: DuckDBConnection, sources: readonly LocatedSource[]): Promise<void> {
  for (const source of sources)
    for (const file of source.texts) await requireSchema(connection, file, columnsOf(source))
}

/** All of it at once. */
export async function collect(
  connection: DuckDBConnection,
  sources: readonly LocatedSource[],
  rules: CollectingRules,
  spool: SpoolWriter,
  watch: Watch,
): Promise<Collected> {
  await requireSchemas(connection, sources)
  const collecting = nothingCollected(sources, rules)
  const all = { from: SOURCES_START, leastBytes: Number.POSITIVE_INFINITY }
  await collectShard(connection, sources, all, rules, collecting, spool, watch)
  return collectedOf(collecting)
}

/**
 * Reads the sources from a place on, behind what was read into `collecting` before: keeps what is human-written and survives cleaning
 * and the exact-duplicate search, and hands it to the spool. So the first of several equal texts is the one of the earliest source and row.
 * Ends at the first place behind `leastBytes` of the files, which it returns, or undefined at the end of all.
 */
export async function collectShard(
  connection: DuckDBConnection,
  sources: readonly LocatedSource[],
  { from, leastBytes }: { readonly from: SourcesPlace; readonly leastBytes: number },
  rules: CollectingRules,
  collecting: Collecting,
  spool: SpoolWriter,
  watch: Watch,
): Promise<SourcesPlace | undefined> {
  const { counts, sourceOf, rowOf, sameAs, groupOf, copies } = collecting
  const { mojibake, lengths, examples, texts, groups, machine } = collecting
  const files = sources.reduce((sum, { texts }) => sum + texts.length, 0)
  let left = leastBytes
  let end = 0
  for (const [index, source] of sources.entries()) {
    const count = counts[index] as DataCounts
    const filter = collecting.filters[index] as HumanFilter
    const begin = end
    end += source.texts.length
    if (end <= from.file) continue
    const wanted = columnsOf(source)
    const scope = groupScope(source)
    const [textAt, inputAt, groupAt] = [source.textColumn, source.inputColumn, source.groupColumn].map((name) =>
      wanted.indexOf(name),
    ) as [number, number, number]
    const keys = Object.fromEntries(removals.map((rule) => [rule, exampleKey(rule, source.name)])) as Record<
      Removal,
      string
    >
    const example = (rule: Removal, id: string, text: () => string, duplicateOf?: string): void =>
      examples.offer(keys[rule], id, () => ({
        id,
        rule,
        excerpt: excerptOf(text()),
        ...(duplicateOf !== undefined && { duplicateOf }),
      }))
    for (const [place, file] of source.texts.entries()) {
      const fileAt = begin + place
      if (fileAt < from.file) continue
      if (count.read >= source.limit) break
      const part = { from: fileAt === from.file ? from.within : FILE_START, leastBytes: left }
      const before = count.read - part.from.row
      let next: FilePlace | undefined
      let share = 0
      const onShare = (read: number): void => {
        share = read
      }
      const selection = {
        human: source.human,
        rows: source.limit - before,
        names: { seed: rules.seed, prefix: idOf(source, ''), before },
        shown: EXAMPLES_PER_RULE,
        drawn: machine.open,
      }
      for await (const rows of readRows(connection, file, wanted, onShare, selection, part)) {
        watch.signal.throwIfAborted()
        next = rows.next
        const { value, leftOut } = rows
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
          const isCounted = isLeftOut(author) && leftOut !== undefined
          if (!isCounted) filter.see(values, 1)
          if (author === 'unknown') throw unknownValue(source, file.path, number, filter)
          if (author !== 'human') {
            if (!isCounted) count.notHuman++
            example('notHuman', id, () => value(row, textAt) ?? '')
            if (author === 'machine') machine.offer(id, source.name, () => value(row, textAt) ?? '')
            continue
          }
          const paired = value(row, inputAt) ?? ''
          if (paired !== '' && !rules.trainsOnPairs) machine.offer(id, source.name, () => paired)
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
          groupOf.push(group === undefined ? ordinal : groups.find(`${scope}\0${group}`, ordinal))
          kept.push({ id, text: cleaned.text, input: input?.kind === 'kept' ? input.text : '' })
        }
        await spool.append(kept)
        count.read = Math.min(before + rows.read, source.limit)
        watch.onRows(index, count.read, place, share)
        if (count.read >= source.limit) break
      }
      if (next && count.read < source.limit) return { file: fileAt, within: next }
      left -= (await stat(file.path)).size - part.from.byte
      if (left <= 0 && fileAt + 1 < end) return { file: fileAt + 1, within: FILE_START }
    }
    requireHumanRows(source, count, filter)
    if (left <= 0 && end < files) return { file: end, within: FILE_START }
  }
  return undefined
}

/** Those that decide who wrote a row come first, as the human filter wants them. */
const columnsOf = ({ human, textColumn, inputColumn, groupColumn }: LocatedSource): readonly string[] => {
  const others = [textColumn, inputColumn, groupColumn].filter((name) => name !== '')
  return [...human.map(({ column }) => column), ...others]
}

/** Two sources of one repository, say with other rules, have the same groups: a RAID source stays on one side in all of them. */
const groupScope = ({ name, groupColumn, location: { huggingFace } }: LocatedSource): string =>
  huggingFace ? `${huggingFace.repository.toLowerCase()}\0${groupColumn}` : name

export const excerptOf = (text: string): string => beginning(text.slice(0, 4000).replace(/\s+/g, ' '), 280)

/** A label that is neither that of a human nor a known other one: the source has changed, or is not what we take it for. */
const unknownValue = ({ name, human }: LocatedSource, path: string, row: number, filter: HumanFilter): JobFailure => {
  const known = human
    .filter(({ others }) => others !== undefined)
    .map(({ column, values, others = [] }) => ({ column, values: [...values, ...others] }))
  return new JobFailure(
    'SourceInvalid',
    `source ${name}: row ${row}, in ${path}, has an unknown value: known is ${inWords(known)}; ${filter.valuesSeen()} (sources[].keep says which rows are human-written)`,
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
  const wanted = inWords(source.human)
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
