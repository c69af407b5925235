import type { DuckDBConnection } from '@duckdb/node-api'
import { JobFailure } from '../job/failure.ts'
import { idOf } from './collect.ts'
import { EvaluationTexts } from './decontaminate.ts'
import { humanFilter } from './human.ts'
import type { LocatedSource } from './locate.ts'
import { readRows } from './read.ts'
import type { Settings } from './settings.ts'

/** An evaluation set as the report has it. */
export interface EvaluationSet {
  readonly name: string
  readonly revision: string
  /** Texts that are looked for. */
  readonly texts: number
  /** Texts of too few words to be looked for. */
  readonly tooShort: number
}

/** Reads the evaluation sets into memory. A set without a text, or more words than fit, is SourceInvalid. */
export async function readEvaluationSets(
  connection: DuckDBConnection,
  sets: readonly LocatedSource[],
  { decontamination, deduplication }: Pick<Settings, 'decontamination' | 'deduplication'>,
  signal: AbortSignal,
): Promise<{ readonly texts: EvaluationTexts; readonly sets: readonly EvaluationSet[] } | undefined> {
  if (decontamination === undefined) return undefined
  const texts = new EvaluationTexts(decontamination.ngramWords, deduplication.nearThreshold)
  const read: EvaluationSet[] = []
  for (const set of sets) {
    const before = { count: texts.count, tooShort: texts.tooShort }
    const filter = humanFilter(set.human)
    const columns = [set.textColumn, set.inputColumn].filter((name) => name !== '')
    let row = 0
    for (const file of set.texts)
      for await (const { count, value } of readRows(connection, file, [...filter.columns, ...columns])) {
        signal.throwIfAborted()
        for (let at = 0; at < count && row < set.limit; at++) {
          row++
          if (filter.judge((column) => value(at, column)) !== 'human') continue
          for (const i of columns.keys()) {
            const text = value(at, filter.columns.length + i)
            if (text) texts.add(idOf(set, row), text)
          }
        }
        if (texts.full)
          throw new JobFailure(
            'SourceInvalid',
            `decontamination.sources: more than ${texts.words} words by row ${row} of ${set.name}; expected at most 4 million: set limit, or keep fewer rows`,
          )
      }
    const { name, revision } = set
    read.push({ name, revision, texts: texts.count - before.count, tooShort: texts.tooShort - before.tooShort })
    if (texts.count === before.count)
      throw new JobFailure(
        'SourceInvalid',
        `decontamination.sources: ${name} has no text of 8 words or more in ${row} rows; is its textColumn "${set.textColumn}"?`,
      )
  }
  return { texts, sets: read }
}
