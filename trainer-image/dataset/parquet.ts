import { DuckDBBitValue, type DuckDBConnection } from '@duckdb/node-api'
import { type Chunk, chunksOf, fileLiteral, identifier, literal } from './database.ts'
import type { Author } from './human.ts'
import type { Part } from './part.ts'
import type { Rows } from './read.ts'
import { isLeftOut, type LeftOut, MOST_VALUES, type Selecting, type Selection, selecting } from './selection.ts'

/** What DuckDB calls the number of a row in its file. It refuses files that have such a column themselves. */
const ROW = 'file_row_number'

/** Rows of a file that has `total`: number `from` and those behind it, before number `to`. */
export interface RowRange {
  readonly path: string
  readonly total: number
  readonly from: number
  readonly to: number
}

/** What a reader yields that has nothing but news of how far it is. */
export const NO_ROWS = { count: 0, number: () => 0, value: () => undefined }

/** The rows of a part, which ends where a row group does: of its columns nothing is decoded twice. A file that has its own ROW is one part. */
export async function rangeOf(
  connection: DuckDBConnection,
  { path, size }: { readonly path: string; readonly size: number },
  { from: { row: from }, leastBytes }: Part,
): Promise<RowRange> {
  const ofFile = `SELECT num_rows::DOUBLE FROM parquet_file_metadata(${fileLiteral(path)})`
  const total = (await connection.runAndReadAll(ofFile)).getRows()[0]?.[0] as number
  const least = from + Math.max((total * leastBytes) / size, 1)
  if (least >= total || (await hasColumn(connection, path, ROW))) return { path, total, from, to: total }
  const ofGroups = `SELECT any_value(row_group_num_rows)::DOUBLE FROM parquet_metadata(${fileLiteral(path)}) GROUP BY row_group_id ORDER BY row_group_id`
  let to = 0
  for (const [rows] of (await connection.runAndReadAll(ofGroups)).getRows()) {
    to += rows as number
    if (to >= least) break
  }
  return { path, total, from, to }
}

/** As SQL; rows outside the range are not read. */
export function rowsIn({ path, total, from, to }: RowRange): string {
  const file = `FROM read_parquet(${fileLiteral(path)}, file_row_number=true)`
  const bounds = [...(from > 0 ? [`${ROW} >= ${from}`] : []), ...(to < total ? [`${ROW} < ${to}`] : [])]
  return bounds.length > 0 ? `FROM (${file} WHERE ${bounds.join(' AND ')})` : file
}

/**
 * The selected rows of a range; the texts of others are not even decoded. Two short passes over the deciding columns come first.
 * Undefined when nothing would be left out.
 */
export async function selectedRows(
  connection: DuckDBConnection,
  range: RowRange,
  wanted: readonly string[],
  selection: Selection,
): Promise<AsyncGenerator<Rows> | undefined> {
  const choice = selecting(selection)
  if (choice === undefined || (await hasColumn(connection, range.path, ROW))) return undefined
  const names = wanted.map((name) => `CAST(${identifier(name)} AS VARCHAR)`)
  const deciders = names.slice(0, selection.human.length)
  const within = rowsIn({ ...range, to: Math.min(range.to, selection.rows) })
  const kinds = await kindsOf(connection, deciders, within)
  const leftOut = kinds?.filter(({ values }) => isLeftOut(choice.authorOf(values))) ?? []
  if (kinds === undefined || leftOut.length === 0) return undefined
  const isBy = (author: Author): string =>
    condition(deciders, kinds, ({ values }) => choice.authorOf(values) === author)
  const codes = `CASE ${authors.map((author, code) => `WHEN ${isBy(author)} THEN ${code}`).join(' ')} END`
  const isHere = await rowsHere(chunksOf(connection, `SELECT CAST(${codes} AS UTINYINT) ${within}`), choice, range)
  const columns = [
    // Of an enumeration each text is made once.
    ...deciders.map((name, i) => {
      const values = [...new Set(kinds.flatMap(({ values }) => values[i] ?? []))]
      return values.length > 0 ? `CAST(${name} AS ENUM(${values.map(literal).join(', ')}))` : name
    }),
    ...names.slice(deciders.length),
    `CAST(${ROW} AS DOUBLE)`,
  ]
  const query = `SELECT ${columns.join(', ')} ${within} WHERE get_bit($1, CAST(${ROW} AS INTEGER)) = 1`
  const end = kinds.reduce((sum, { count }) => sum + count, range.from)
  return read(chunksOf(connection, query, [isHere]), { columns: names.length, leftOut, begin: range.from, end })
}

/** By the numbers that stand for them. */
const authors: readonly Author[] = ['human', 'machine', 'other', 'unknown']

/** Of each row of the file whether it is selected; the chunks have the numbers of the authors of the range's rows, in order. */
async function rowsHere(
  chunks: AsyncIterable<Chunk>,
  choice: Selecting,
  { total, from }: RowRange,
): Promise<DuckDBBitValue> {
  // As DuckDB has them: the first byte tells how many bits of the second are not used, and those are set.
  const unused = -total & 7
  const bytes = new Uint8Array(1 + Math.ceil(total / 8))
  bytes[0] = unused
  const set = (bit: number): void => {
    bytes[1 + (bit >> 3)]! |= 0x80 >> (bit & 7)
  }
  for (let bit = 0; bit < unused; bit++) set(bit)
  let row = from
  for await (const { count, item } of chunks)
    for (let i = 0; i < count; i++, row++) {
      const author = authors[item(i, 0) as number] as Author
      if (!isLeftOut(author)) set(unused + row)
      else choice.isDrawn(row, author)
    }
  for (const drawn of choice.drawn()) set(unused + drawn)
  return new DuckDBBitValue(bytes)
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
  chunks: AsyncIterable<Chunk>,
  of: {
    readonly columns: number
    readonly leftOut: readonly LeftOut[]
    readonly begin: number
    readonly end: number
  },
): AsyncGenerator<Rows> {
  let read = of.begin
  yield { ...NO_ROWS, read, leftOut: of.leftOut }
  for await (const { count, item, value } of chunks) {
    const number = (row: number): number => item(row, of.columns) as number
    if (number(0) < read) throw new Error(`DuckDB gave row ${number(0)} after row ${read - 1}`)
    read = number(count - 1) + 1
    yield { count, value, number, read, leftOut: [] }
  }
  yield { ...NO_ROWS, read: of.end, leftOut: [] }
}

async function hasColumn(connection: DuckDBConnection, path: string, name: string): Promise<boolean> {
  const schema = `parquet_schema(${fileLiteral(path)})`
  const found = await connection.runAndReadAll(`SELECT 1 FROM ${schema} WHERE lower(name) = ${literal(name)}`)
  return found.currentRowCount > 0
}
