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
  const leftOut = kinds?.filter(({ values }) => choice.authorOf(values) === 'other') ?? []
  if (kinds === undefined || leftOut.length === 0) return undefined
  const isBy = (isChosen: (author: Author) => boolean): string =>
    condition(deciders, kinds, ({ values }) => isChosen(choice.authorOf(values)))
  const isWanted = isBy((author) => author !== 'other')
  let seen = 0
  for await (const { count, item } of chunksOf(connection, `SELECT ${isWanted} ${from}`))
    for (let row = 0; row < count; row++, seen++) if (item(row, 0) !== true) choice.isShown(seen)
  const prefix = Array.from(new TextEncoder().encode(summed.prefix), (byte) => `chr(${byte})`).join(', ')
  const columns = [
    // Of an enumeration each text is made once.
    ...deciders.map((name, i) => {
      const values = [...new Set(kinds.flatMap(({ values }) => values[i] ?? []))]
      return values.length > 0 ? `CAST(${name} AS ENUM(${values.map(literal).join(', ')}))` : name
    }),
    ...names.slice(deciders.length),
    ...(['machine', 'human'] as const).map((author) => {
      const column = summed[author]
      return column === undefined
        ? 'NULL'
        : `CASE WHEN ${isBy((each) => each === author)} THEN md5(concat(${prefix}, ${names[column]})) END`
    }),
    `CAST(${ROW} AS DOUBLE)`,
  ]
  const isHere = [isWanted, ...choice.shown().map((row) => `${ROW} = ${row}`)].join(' OR ')
  return read(connection, `SELECT ${columns.join(', ')} ${from} WHERE ${isHere}`, {
    columns: names.length,
    leftOut,
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

/**
 * As SQL, which is true of no other kinds than the chosen ones. Comparing each row with each kind would cost as much as reading it: where the chosen
 * are all combinations of some values of each column, as they mostly are, the columns are compared one by one.
 */
function condition(
  deciders: readonly string[],
  kinds: readonly LeftOut[],
  isChosen: (kind: LeftOut) => boolean,
): string {
  const chosen = kinds.filter(isChosen)
  if (chosen.length === 0) return 'false'
  const held = deciders.map((_, i) => new Set(chosen.map(({ values }) => values[i])))
  const isCombined = kinds.every((kind) => isChosen(kind) || !kind.values.every((value, i) => held[i]?.has(value)))
  if (!isCombined)
    return `(${chosen.map((kind) => deciders.map((name, i) => isIn(name, new Set([kind.values[i]]))).join(' AND ')).join(' OR ')})`
  const telling = deciders.flatMap((name, i) => {
    const values = held[i] as Set<string | undefined>
    return kinds.every((kind) => values.has(kind.values[i])) ? [] : [isIn(name, values)]
  })
  return telling.length > 0 ? `(${telling.join(' AND ')})` : 'true'
}

/** NULL or false where it does not hold. */
function isIn(column: string, values: ReadonlySet<string | undefined>): string {
  const texts = [...values].filter((value) => value !== undefined)
  // Not IN: DuckDB 1.5.6 makes a join of a longer list, and then gives the rows in another order each time.
  const isText = `list_contains([${texts.map(literal).join(', ')}], ${column})`
  if (!values.has(undefined)) return isText
  return texts.length > 0 ? `(${column} IS NULL OR ${isText})` : `${column} IS NULL`
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
  let read = 0
  yield { ...none, read, leftOut: of.leftOut }
  for await (const { count, item, value } of chunksOf(connection, query)) {
    const number = (row: number): number => item(row, of.columns + of.summed.length) as number
    if (number(0) < read) throw new Error(`DuckDB gave row ${number(0)} after row ${read - 1}`)
    read = number(count - 1) + 1
    yield {
      count,
      value,
      number,
      sum: (row, column) => value(row, of.columns + of.summed.indexOf(column)),
      read,
      leftOut: [],
    }
  }
  yield { ...none, read: of.rows, leftOut: [] }
}

async function hasColumn(connection: DuckDBConnection, path: string, name: string): Promise<boolean> {
  const schema = `parquet_schema(${fileLiteral(path)})`
  const found = await connection.runAndReadAll(`SELECT 1 FROM ${schema} WHERE lower(name) = ${literal(name)}`)
  return found.currentRowCount > 0
}
