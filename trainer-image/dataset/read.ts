import { stat } from 'node:fs/promises'
import type { DuckDBConnection } from '@duckdb/node-api'
import { JobFailure } from '../job/failure.ts'
import { CsvInvalid, NotUtf8 } from './csv.ts'
import { bytesOf, readCsvFile } from './csv-file.ts'
import { chunksOf, databaseFailure, fileLiteral, identifier, literal } from './database.ts'
import { NO_ROWS, type RowRange, rangeOf, rowsIn, selectedRows } from './parquet.ts'
import { FILE_START, type FilePlace, type Part, WHOLE_FILE } from './part.ts'
import type { LeftOut, Selection } from './selection.ts'
import type { Format } from './source.ts'

/** Some rows, with the wanted columns in the order in which they were asked for. A value is made when it is asked for. */
export interface Rows {
  readonly count: number
  /** Which one of its file it is, from 0. */
  number(row: number): number
  /** Undefined where the row has none, and of no column (-1). To be asked for before the next rows are. */
  value(row: number, column: number): string | undefined
  /** Rows of the file that are done with these. */
  readonly read: number
  /**
   * All rows that no human wrote since the rows before these, of which only the drawn ones are here. Undefined where the reader leaves
   * nothing out.
   */
  readonly leftOut?: readonly LeftOut[] | undefined
  /** With the last rows of a part that is not the file's last: where the next one begins. */
  readonly next?: FilePlace | undefined
}

export interface TextFile {
  readonly path: string
  readonly format: Format
  /** Of a download, which was summed as it came: lower-case hex over its bytes. */
  readonly sha256?: string
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
 * how much of the file has been read, about, from 0 to 1. Of CSV and Parquet rows that `selection` does not want are left out. Files
 * other than Parquet and CSV that is not packed are one part.
 */
export async function* readRows(
  connection: DuckDBConnection,
  file: TextFile,
  wanted: readonly string[],
  onShare: (read: number) => void = () => {},
  selection?: Selection,
  part: Part = WHOLE_FILE,
): AsyncGenerator<Rows> {
  const { size } = await stat(file.path)
  if (size === 0) throw new JobFailure('SourceInvalid', `${file.path} is empty; expected rows`)
  try {
    if (file.format === 'CSV') {
      const onBytes = (bytes: number): void => onShare(bytes / size)
      return yield* readCsvFile(file.path, csvOptions(file.path, wanted), selection, onBytes, part)
    }
    const table = await tableOf(connection, file, wanted)
    const range = file.format === 'Parquet' ? await rangeOf(connection, { path: file.path, size }, part) : undefined
    // The default of 1 MB makes the readers wait for us after every few hundred texts.
    await connection.run("SET streaming_buffer_size = '32MB'")
    const selected = selection && range && (await selectedRows(connection, range, wanted, selection))
    const columns = wanted.map((name) => `CAST(${identifier(name)} AS VARCHAR)`)
    const isPart = range && range.to - range.from < range.total
    const query = `SELECT ${columns.join(', ')} ${isPart ? rowsIn(range) : `FROM ${table}`}`
    let units = 0
    for await (const rows of selected ?? allRows(connection, query, range?.from ?? 0)) {
      // Of a format that does not say how many rows it has, the values that were read stand for its bytes.
      units = range === undefined ? units + lengthOf(rows, wanted.length) : rows.read
      onShare(Math.min(units / (range?.total ?? size), 1))
      yield rows
    }
    if (range && range.to < range.total) yield { ...NO_ROWS, read: range.to, next: placeBehind(range, size) }
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
    else for await (const _ of readCsvFile(file.path, csvOptions(file.path, wanted))) break
  } catch (error) {
    throw readFailure(error, file)
  }
}

const csvOptions = (path: string, wanted: readonly string[]) => ({
  maxRecord: MAX_RECORD_BYTES,
  wanted,
  onHeader: (columns: readonly string[]) => requireColumns(path, wanted, columns),
})

/** The file as an SQL table in which the wanted columns are known to exist. */
async function tableOf(
  connection: DuckDBConnection,
  { path, format }: TextFile,
  wanted: readonly string[],
): Promise<string> {
  const name = fileLiteral(path)
  if (format === 'JSONL') {
    const records = (await isArray(path)) ? 'array' : 'newline_delimited'
    const options = `format='${records}', maximum_object_size=${MAX_RECORD_BYTES}`
    const sniff = `read_json(${name}, ${options}, map_inference_threshold=-1, field_appearance_threshold=0)`
    requireText(path, wanted, await describe(connection, sniff))
    return `read_json(${name}, ${options}, columns={${[...new Set(wanted)].map((column) => `${literal(column)}: 'VARCHAR'`).join(', ')}})`
  }
  if (format === 'Parquet') {
    requireText(path, wanted, await describe(connection, `read_parquet(${name})`))
    return `read_parquet(${name})`
  }
  requireColumns(path, wanted, ['text'])
  // Paragraphs stand between blank lines; a single line break inside one is only where the line was full.
  const split = String.raw`string_split_regex(replace(content, chr(13), ''), '\n[ \t]*\n')`
  const paragraphs = `SELECT unnest(${split}) AS paragraph FROM read_text(${name})`
  return String.raw`(SELECT trim(regexp_replace(paragraph, '\s*\n\s*', ' ', 'g')) AS text FROM (${paragraphs}) WHERE regexp_matches(paragraph, '\S'))`
}

/** White space, and the parts of a byte order mark. */
const blank: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf])

/** What ends in .json is often one array of all records. */
async function isArray(path: string): Promise<boolean> {
  await using bytes = await bytesOf(path)
  const piece = new Uint8Array(1 << 16)
  for (let length = await bytes.fill(piece); length > 0; length = await bytes.fill(piece)) {
    const first = piece.subarray(0, length).find((byte) => !blank.has(byte))
    if (first !== undefined) return first === 0x5b
  }
  return false
}

/** Types by the names of the columns. */
async function describe(connection: DuckDBConnection, table: string): Promise<ReadonlyMap<string, string>> {
  const reader = await connection.runAndReadAll(`DESCRIBE SELECT * FROM ${table}`)
  return new Map(reader.getRows().map(([name, type]) => [String(name), String(type)]))
}

/** Lists, records and bytes would become a text that nobody wrote, such as "[Hello, …]" or "\\xE9". */
function requireText(path: string, wanted: readonly string[], found: ReadonlyMap<string, string>): void {
  requireColumns(path, wanted, [...found.keys()])
  for (const column of wanted) {
    const type = found.get(column) ?? ''
    if (/\]$|^(STRUCT|MAP|BLOB)\b/.test(type))
      throw new JobFailure('SourceInvalid', `${path}: column "${column}" is ${type.slice(0, 80)}; expected text`)
  }
}

function requireColumns(path: string, wanted: readonly string[], found: readonly string[]): void {
  for (const column of wanted)
    if (!found.includes(column))
      throw new JobFailure(
        'SourceInvalid',
        `${path} has no column "${column}"; it has ${found.slice(0, 40).join(', ')}`,
      )
}

const placeBehind = ({ to, total }: RowRange, size: number): FilePlace => ({
  ...FILE_START,
  row: to,
  byte: Math.round((size * to) / total),
})

/** Of a query whose first row is number `first`. */
async function* allRows(connection: DuckDBConnection, query: string, first: number): AsyncGenerator<Rows> {
  let read = first
  for await (const { count, value } of chunksOf(connection, query)) {
    const before = read
    read += count
    yield { count, value, number: (row) => before + row, read }
  }
}

function lengthOf({ count, value }: Rows, columns: number): number {
  let units = 0
  for (let row = 0; row < count; row++)
    for (let column = 0; column < columns; column++) units += value(row, column)?.length ?? 0
  return units
}

function readFailure(error: unknown, { path, format }: TextFile): unknown {
  const code = error instanceof Error ? String((error as NodeJS.ErrnoException).code ?? '') : ''
  const problem =
    error instanceof CsvInvalid || error instanceof NotUtf8
      ? error.message
      : /^Z_/.test(code)
        ? `it can not be unpacked: ${(error as Error).message}`
        : undefined
  if (problem !== undefined)
    return new JobFailure('SourceInvalid', `${path} as ${format}: ${problem}`, { cause: error })
  const failure = databaseFailure(error, `${path} as ${format}`, 'SourceInvalid')
  if (format !== 'JSONL' || !(failure instanceof JobFailure)) return failure
  // DuckDB 1.5.6 names the line behind the one that it means.
  const message = failure.message.replace(/(?<=, at byte \d+ in line )\d+/, (line) => String(Number(line) - 1))
  return new JobFailure(failure.reason, message, { cause: error })
}
