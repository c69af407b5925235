import type { DuckDBConnection } from '@duckdb/node-api'
import { fileLiteral, identifier, literal } from './database.ts'
import type { Values } from './human.ts'

/** Of which rows the texts are wanted. The first so many of the wanted columns decide that, and are read of every row. */
export interface Selection {
  readonly deciding: number
  /** Rows from there on, counted from 0 in the file, are not looked at. */
  readonly rows: number
  wants(values: Values): boolean
  /** Hears of each row that is not wanted, and then says of which the texts are wanted nevertheless. */
  unwanted(row: number): void
  nevertheless(): readonly number[]
  /** Columns of which the MD5 sums are wanted, too, each text behind the prefix. */
  readonly summed: { readonly prefix: string; readonly columns: readonly number[] }
}

/** What DuckDB calls the number of a row in its file. It refuses files that have such a column themselves. */
const ROW = 'file_row_number'

/** More different values are not worth a list: the texts of all rows are read then. */
const MOST_VALUES = 256

/**
 * The columns of a parquet file as a query, after them the sums, all as text or as an enumeration of texts. The texts of rows that are not wanted are
 * NULL, so that they never leave the database. Two short passes over the deciding columns come first.
 */
export async function selectedColumns(
  connection: DuckDBConnection,
  path: string,
  wanted: readonly string[],
  { deciding, rows, wants, unwanted, nevertheless, summed }: Selection,
): Promise<string | undefined> {
  const names = wanted.map((name) => `CAST(${identifier(name)} AS VARCHAR)`)
  const [deciders, texts] = [names.slice(0, deciding), names.slice(deciding)]
  if (deciders.length === 0 || (await hasColumn(connection, path, ROW))) return undefined
  const within = Number.isFinite(rows) ? ` WHERE ${ROW} < ${rows}` : ''
  const from = `FROM read_parquet(${fileLiteral(path)}, file_row_number=true)${within}`
  const found = await connection.runAndReadAll(
    `SELECT DISTINCT ${deciders.join(', ')} ${from} LIMIT ${MOST_VALUES + 1}`,
  )
  const kinds = found.getRows().map((row) => row.map((value) => (typeof value === 'string' ? value : undefined)))
  if (kinds.length > MOST_VALUES || kinds.every(wants)) return undefined
  const isOneOf = (some: readonly Values[]): string =>
    some
      .map(
        (values) => `(${values.map((value, i) => `${deciders[i]} IS NOT DISTINCT FROM ${sql(value)}`).join(' AND ')})`,
      )
      .join(' OR ') || 'false'
  const wantedKinds = isOneOf(kinds.filter(wants))
  const scan = await connection.stream(`SELECT ${wantedKinds} ${from}`)
  for (let row = 0; ; ) {
    const chunk = await scan.fetchChunk()
    if (!chunk || chunk.rowCount === 0) break
    const isWanted = chunk.getColumnVector(0)
    for (let i = 0; i < chunk.rowCount; i++, row++) if (!isWanted.getItem(i)) unwanted(row)
  }
  const others = nevertheless()
  const prefix = Array.from(new TextEncoder().encode(summed.prefix), (byte) => `chr(${byte})`).join(', ')
  const condition = others.length > 0 ? `${wantedKinds} OR ${ROW} IN (${others.join(', ')})` : wantedKinds
  const columns = [
    ...deciders.map((name, i) => {
      const values = [...new Set(kinds.flatMap((kind) => kind[i] ?? []))]
      return values.length > 0 ? `CAST(${name} AS ENUM(${values.map(literal).join(', ')}))` : name
    }),
    ...texts.map((name) => `CASE WHEN ${condition} THEN ${name} END`),
    ...summed.columns.map((column) => `CASE WHEN ${wantedKinds} THEN md5(concat(${prefix}, ${names[column]})) END`),
  ]
  return `SELECT ${columns.join(', ')} ${from}`
}

const sql = (value: string | undefined): string => (value === undefined ? 'NULL' : literal(value))

async function hasColumn(connection: DuckDBConnection, path: string, name: string): Promise<boolean> {
  const schema = `parquet_schema(${fileLiteral(path)})`
  const found = await connection.runAndReadAll(`SELECT 1 FROM ${schema} WHERE lower(name) = ${literal(name)}`)
  return found.currentRowCount > 0
}
