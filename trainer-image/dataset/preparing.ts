/** For tests: configurations of `prepare`, and what it left. */
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { pino } from 'pino'
import { type DeepPartial, PrepareConfig, type Source } from '#proto/humanizer/trainer/v1/preparation.ts'
import { startHub } from '../../test/fixtures/hub.ts'
import type { JobContext } from '../job/context.ts'
import type { Surroundings } from './build.ts'
import { prepare } from './prepare.ts'
import type { WorkFolder } from './work-folder.ts'

/** Surroundings of a Job whose claim is `dataDir`. */
export const contextOf = (dataDir: string, signal = new AbortController().signal): JobContext => ({
  dataDir,
  signal,
  log: pino({ level: 'silent' }),
  podUid: 'pod-1',
  podName: 'pod',
  terminationLog: join(dataDir, 'termination-log'),
  hubEndpoint: 'http://127.0.0.1:9',
  stateDir: dataDir,
  desiredFile: '',
})

export type Change = Partial<Omit<PrepareConfig, 'sources'>>
/** One configuration; sources are named s0, s1, … and stand under CC0-1.0. */
export const configOf = (sources: DeepPartial<Source>[], change: Change = {}): PrepareConfig =>
  PrepareConfig.fromPartial({
    owner: { namespace: 'default', name: 'prose', uid: 'dataset-1' },
    attempt: 1,
    sources: sources.map((source, i) => ({ name: `s${i}`, license: 'CC0-1.0', ...source })),
    cleaning: { minCharacters: 50, maxCharacters: 8000, minWords: 10, removeUrls: true, removeEmails: true },
    deduplication: { exact: true, nearThreshold: 0.85, shingleWords: 5 },
    split: { trainPercent: 95, seed: 42 },
    format: { sample: 'Denoise', systemPrompt: 'system', userTemplate: 'Rewrite: {text}' },
    specHash: 'spec-1',
    ...change,
  })

export interface Row {
  readonly [column: string]: string
}

/** The rows of one side of a prepared dataset. */
export async function rowsOf(dataDir: string, location: string, side: string): Promise<Row[]> {
  const connection = await (await DuckDBInstance.create(':memory:')).connect()
  const reader = await connection.runAndReadAll(`SELECT * FROM '${join(dataDir, location, `${side}.parquet`)}'`)
  return reader.getRowObjects() as unknown as Row[]
}

/** What the rows have in a column. */
export const textsOf = (rows: readonly Row[], column: string): (string | undefined)[] => rows.map((row) => row[column])

/** Prepares repositories of a Hub of their own, by their names or as each of `fields` adds to that; a licence must be declared. Its result, the rows of both sides, and the claim. */
export const hubPreparation =
  (freshFolder: () => Promise<string>, commit: string) =>
  async (
    repository: string,
    files: Readonly<Record<string, string | Uint8Array>>,
    change: Change = {},
    ...fields: DeepPartial<Source>[]
  ) => {
    const bytes = Object.fromEntries(Object.entries(files).map(([path, content]) => [path, Buffer.from(content)]))
    const hub = await startHub({ kind: 'dataset', repository, commit, files: bytes })
    const dataDir = await freshFolder()
    const huggingFace = { repository, revision: '', files: [], tokenFile: '' }
    const licensePolicy = { requireDeclared: true, allowed: [] }
    const sources = (fields.length > 0 ? fields : [{}]).map((own) => ({ license: '', huggingFace, ...own }))
    const config = configOf(sources, { licensePolicy, ...change })
    try {
      const result = await prepare(config, { ...contextOf(dataDir), hubEndpoint: hub.endpoint })
      const sides = await Promise.all(['train', 'validation'].map((side) => rowsOf(dataDir, result.location, side)))
      return { result, rows: sides.flat(), dataDir }
    } finally {
      hub.close()
    }
  }

/** Writes rows as a parquet file, every column as text. A row group has as many rows as DuckDB wants, or a multiple of 2048. */
export async function parquetOf(
  path: string,
  rows: readonly Readonly<Record<string, string>>[],
  rowGroup?: number,
): Promise<void> {
  const columns = Object.keys(rows[0] ?? {})
  const connection = await (await DuckDBInstance.create(':memory:')).connect()
  await connection.run(`CREATE TABLE made (${columns.map((name) => `"${name}" VARCHAR`).join(', ')})`)
  const appender = await connection.createAppender('made')
  for (const row of rows) {
    for (const name of columns) appender.appendVarchar(row[name] ?? '')
    appender.endRow()
  }
  appender.closeSync()
  await mkdir(dirname(path), { recursive: true })
  const size = rowGroup === undefined ? '' : `, ROW_GROUP_SIZE ${rowGroup}`
  await connection.run(`COPY made TO '${path}' (FORMAT parquet${size})`)
  connection.closeSync()
}

/** What `buildDataset` works in, its folders made. */
export async function surroundingsOf(
  dataDir: string,
  work: WorkFolder,
  report: Surroundings['report'],
): Promise<Surroundings> {
  await mkdir(work.attempt, { recursive: true })
  const { signal, log, hubEndpoint } = contextOf(dataDir)
  return { dataDir, signal, log, hubEndpoint, threads: 2, report }
}
