import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import type { DuckDBConnection } from '@duckdb/node-api'
import { JobFailure } from '../job/failure.ts'
import { CsvInvalid, parseCsv } from './csv.ts'
import { databaseFailure, fileLiteral, identifier, literal } from './database.ts'
import type { Format } from './source.ts'

/** The values of the wanted columns, in the order in which they were asked for; undefined where the row has none. */
export type Row = readonly (string | undefined)[]

export interface TextFile {
  readonly path: string
  readonly format: Format
}

/** Larger single records are refused as broken quoting or a wrong format, in bytes. */
const MAX_RECORD_BYTES = 16 * 1024 * 1024

const endings: readonly (readonly [RegExp, Format])[] = [
  [/\.(csv|tsv)(\.gz)?$/i, 'CSV'],
  [/\.(jsonl|ndjson|json)(\.gz)?$/i, 'JSONL'],
  [/\.parquet$/i, 'Parquet'],
  [/\.(txt|text)$/i, 'Text'],
]

/** By the ending of the name; undefined when it tells nothing. */
export const formatOf = (path: string): Format | undefined => endings.find(([ending]) => ending.test(path))?.[1]

/**
 * Yields the wanted columns of a file in its own order, some hundreds or thousands of rows at a time. A column that is not there, and
 * anything that can not be read as the format says, is SourceInvalid with the file, the place and what was expected. `onShare` hears
 * how much of the file has been read, about, from 0 to 1.
 */
export async function* readRows(
  connection: DuckDBConnection,
  file: TextFile,
  wanted: readonly string[],
  onShare: (read: number) => void = () => {},
): AsyncGenerator<readonly Row[]> {
  const { size } = await stat(file.path)
  if (size === 0) throw new JobFailure('SourceInvalid', `${file.path} is empty; expected rows`)
  try {
    if (file.format === 'CSV') return yield* readCsv(file.path, wanted, (bytes) => onShare(bytes / size))
    const table = await tableOf(connection, file, wanted)
    const rows = file.format === 'Parquet' ? await parquetRows(connection, file.path) : undefined
    let units = 0
    const result = await connection.stream(
      `SELECT ${wanted.map((name) => `CAST(${identifier(name)} AS VARCHAR)`).join(', ')} FROM ${table}`,
    )
    for (;;) {
      const chunk = await result.fetchChunk()
      if (!chunk || chunk.rowCount === 0) return
      const values = chunk.getRows().map((row) => row.map((value) => (typeof value === 'string' ? value : undefined)))
      // Of a format that does not say how many rows it has, the values that were read stand for its bytes.
      units += rows === undefined ? lengthOf(values) : values.length
      onShare(Math.min(units / (rows ?? size), 1))
      yield values
    }
  } catch (error) {
    throw readFailure(error, file)
  }
}

/** Opens a file as far as its schema: throws SourceInvalid, with the columns found, when one that is wanted is not there. */
export async function requireSchema(
  connection: DuckDBConnection,
  file: TextFile,
  wanted: readonly string[],
): Promise<void> {
  if ((await stat(file.path)).size === 0) throw new JobFailure('SourceInvalid', `${file.path} is empty; expected rows`)
  try {
    if (file.format !== 'CSV') await tableOf(connection, file, wanted)
    else
      for await (const { columns } of parseCsv(decoded(file.path), MAX_RECORD_BYTES)) {
        if (columns.length === 0) continue
        requireColumns(file.path, wanted, columns)
        break
      }
  } catch (error) {
    throw readFailure(error, file)
  }
}

/** The file as an SQL table in which the wanted columns are known to exist. */
async function tableOf(
  connection: DuckDBConnection,
  { path, format }: TextFile,
  wanted: readonly string[],
): Promise<string> {
  const name = fileLiteral(path)
  if (format === 'JSONL') {
    const options = `format='newline_delimited', maximum_object_size=${MAX_RECORD_BYTES}`
    const sniff = `read_json(${name}, ${options}, map_inference_threshold=-1, field_appearance_threshold=0)`
    requireColumns(path, wanted, await describe(connection, sniff))
    return `read_json(${name}, ${options}, columns={${wanted.map((column) => `${literal(column)}: 'VARCHAR'`).join(', ')}})`
  }
  if (format === 'Parquet') {
    requireColumns(path, wanted, await describe(connection, `read_parquet(${name})`))
    return `read_parquet(${name})`
  }
  requireColumns(path, wanted, ['text'])
  // Paragraphs stand between blank lines; a single line break inside one is only where the line was full.
  const split = String.raw`string_split_regex(replace(content, chr(13), ''), '\n[ \t]*\n')`
  const paragraphs = `SELECT unnest(${split}) AS paragraph FROM read_text(${name})`
  return String.raw`(SELECT trim(regexp_replace(paragraph, '\s*\n\s*', ' ', 'g')) AS text FROM (${paragraphs}) WHERE regexp_matches(paragraph, '\S'))`
}

async function describe(connection: DuckDBConnection, table: string): Promise<string[]> {
  const reader = await connection.runAndReadAll(`DESCRIBE SELECT * FROM ${table}`)
  return reader.getRows().map(([name]) => String(name))
}

function requireColumns(path: string, wanted: readonly string[], found: readonly string[]): void {
  for (const column of wanted)
    if (!found.includes(column))
      throw new JobFailure(
        'SourceInvalid',
        `${path} has no column "${column}"; it has ${found.slice(0, 40).join(', ')}`,
      )
}

async function parquetRows(connection: DuckDBConnection, path: string): Promise<number> {
  const reader = await connection.runAndReadAll(`SELECT num_rows FROM parquet_file_metadata(${fileLiteral(path)})`)
  return Number(reader.getRows()[0]?.[0])
}

const lengthOf = (rows: readonly Row[]): number =>
  rows.reduce((sum, row) => row.reduce((units, value) => units + (value?.length ?? 0), sum), 0)

async function* readCsv(
  path: string,
  wanted: readonly string[],
  onBytes: (bytes: number) => void,
): AsyncGenerator<readonly Row[]> {
  let places: readonly number[] | undefined
  for await (const { columns, records } of parseCsv(decoded(path, onBytes), MAX_RECORD_BYTES)) {
    if (places === undefined && columns.length > 0) {
      requireColumns(path, wanted, columns)
      places = wanted.map((name) => columns.indexOf(name))
    }
    const at = places ?? []
    if (records.length > 0) yield records.map((record) => at.map((place) => record[place]))
  }
}

/** The text of a file, unpacked when its name ends in .gz; bytes that are not UTF-8 are an error. */
async function* decoded(path: string, onBytes: (bytes: number) => void = () => {}): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const file = createReadStream(path, { highWaterMark: 1 << 20 })
  const unpacked = /\.gz$/i.test(path) ? createGunzip({ chunkSize: 1 << 20 }) : undefined
  // The failure of the pipeline also destroys `unpacked`, whose reader throws it.
  if (unpacked) pipeline(file, unpacked).catch(() => undefined)
  for await (const piece of (unpacked ?? file) as AsyncIterable<Buffer>) {
    onBytes(file.bytesRead)
    yield decoder.decode(piece, { stream: true })
  }
  yield decoder.decode()
}

function readFailure(error: unknown, { path, format }: TextFile): unknown {
  const code = error instanceof Error ? String((error as NodeJS.ErrnoException).code ?? '') : ''
  const problem =
    code === 'ERR_ENCODING_INVALID_ENCODED_DATA'
      ? 'its bytes are not UTF-8'
      : /^Z_/.test(code)
        ? `it can not be unpacked: ${(error as Error).message}`
        : error instanceof CsvInvalid
          ? error.message
          : undefined
  if (problem !== undefined)
    return new JobFailure('SourceInvalid', `${path} as ${format}: ${problem}`, { cause: error })
  return databaseFailure(error, `${path} as ${format}`, 'SourceInvalid')
}
