import type { DuckDBConnection } from '@duckdb/node-api'
import { chunksOf, fileLiteral, identifier, literal } from './database.ts'
import type { Author } from './human.ts'
import type { Rows } from './read.ts'
import { type LeftOut, MOST_VALUES, type Selection, selecting } from './selection.ts'

/** What DuckDB calls the number of a row in its file. It refuses files that have such a column themselves. */
const ROW = 'file_row_number'

/**
 * The selected rows of a parquet file; the others never leave the database. Two short passes over the deciding columns come first. Undefined when
 * nothing would be left out.
 */
export async function selectedRows(
  connection: DuckDBConnection,
  path: string,
  wanted: readonly string[],
  selection: Selection,
): Promise<AsyncGenerator<Rows> | undefined> {
  const choice = selecting(selection)
  if (choice === undefined || (await hasColumn(connection, path, ROW))) return undefined
  const { rows, summed } = selection
  const names = wanted.map((name) => `CAST(${identifier(name)} AS VARCHAR)`)
  const deciders = names.slice(0, selection.human.length)
  const within = Number.isFinite(rows) ? ` WHERE ${ROW} < ${rows}` : ''
  const from = `FROM (FROM read_parquet(${fileLiteral(path)}, file_row_number=true)${within})`
  const kinds = await kindsOf(connection, deciders, from)
  const rowsOf = (author: Author): string =>
    (kinds ?? [])
      .filter(({ values }) => choice.authorOf(values) === author)
      .map(
        ({ values }) =>
          `(${values.map((value, i) => `${deciders[i]} IS NOT DISTINCT FROM ${sql(value)}`).join(' AND ')})`,
      )
      .join(' OR ') || 'false'
  const others = rowsOf('other')
  if (kinds === undefined || others === 'false') return undefined
  let seen = 0
  for await (const { count, item } of chunksOf(connection, `SELECT ${others} ${from}`))
    for (let row = 0; row < count; row++, seen++) if (item(row, 0) === true) choice.isShown(seen)
  const prefix = Array.from(new TextEncoder().encode(summed.prefix), (byte) => `chr(${byte})`).join(', ')
  const columns = [
    ...names,
    ...(['machine', 'human'] as const).map((author) => {
      const column = summed[author]
      return column === undefined
        ? 'NULL'
        : `CASE WHEN ${rowsOf(author)} THEN md5(concat(${prefix}, ${names[column]})) END`
    }),
    `CAST(${ROW} AS DOUBLE)`,
  ]
  const isWanted = [`NOT (${others})`, ...choice.shown().map((row) => `${ROW} = ${row}`)].join(' OR ')
  return read(connection, `SELECT ${columns.join(', ')} ${from} WHERE ${isWanted}`, {
    columns: names.length,
    leftOut: kinds.filter(({ values }) => choice.authorOf(values) === 'other'),
    rows: kinds.reduce((sum, { count }) => sum + count, 0),
    summed: [summed.machine, summed.human],
  })
}

/** What the deciding columns hold, by their first rows; undefined when that is too much to list. */
async function kindsOf(
  connection: DuckDBConnection,
  deciders: readonly string[],
  from: string,
): Promise<readonly LeftOut[] | undefined> {
  const query = `SELECT count(*)::DOUBLE, ${deciders.join(', ')} ${from} GROUP BY ALL ORDER BY min(${ROW}) LIMIT ${MOST_VALUES + 1}`
  const found = (await connection.runAndReadAll(query)).getRows()
  if (found.length > MOST_VALUES) return undefined
  return found.map(([count, ...values]) => ({
    count: Number(count),
    values: values.map((value) => (typeof value === 'string' ? value : undefined)),
  }))
}

async function* read(
  connection: DuckDBConnection,
  query: string,
  of: {
    readonly columns: number
    readonly rows: number
    readonly leftOut: readonly LeftOut[]
    readonly summed: readonly (number | undefined)[]
  },
): AsyncGenerator<Rows> {
  const none = { count: 0, number: () => 0, value: () => undefined }
  yield { ...none, read: 0, leftOut: of.leftOut }
  for await (const { count, item, value } of chunksOf(connection, query)) {
    const number = (row: number): number => item(row, of.columns + of.summed.length) as number
    yield {
      count,
      value,
      number,
      sum: (row, column) => value(row, of.columns + of.summed.indexOf(column)),
      read: number(count - 1) + 1,
      leftOut: [],
    }
  }
  yield { ...none, read: of.rows, leftOut: [] }
}

const sql = (value: string | undefined): string => (value === undefined ? 'NULL' : literal(value))

async function hasColumn(connection: DuckDBConnection, path: string, name: string): Promise<boolean> {
  const schema = `parquet_schema(${fileLiteral(path)})`
  const found = await connection.runAndReadAll(`SELECT 1 FROM ${schema} WHERE lower(name) = ${literal(name)}`)
  return found.currentRowCount > 0
}
