import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance, type DuckDBValue } from '@duckdb/node-api'
import { JobFailure } from '../job/failure.ts'

/** A string as an SQL literal. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`
/** A column or table name as SQL. */
export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`
/** One file as SQL, also when its name holds characters of a glob pattern. */
export const fileLiteral = (path: string): string => literal(path.replace(/[[*?]/g, '[$&]'))

export interface Database {
  connect(): Promise<DuckDBConnection>
  close(): void
}

/**
 * A database in memory that never loads an extension; temporary tables and what else does not fit go to files in `folder` (which exists), until
 * it is closed.
 */
export async function openDatabase(
  folder: string,
  { threads, memoryBytes = 400e6 }: { threads: number; memoryBytes?: number },
): Promise<Database> {
  const instance = await DuckDBInstance.create(':memory:', {
    threads: String(threads),
    memory_limit: `${Math.round(memoryBytes / 1e6)}MB`,
    temp_directory: join(folder, 'spill'),
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    preserve_insertion_order: 'true',
  })
  const connections: DuckDBConnection[] = []
  const connect = async (): Promise<DuckDBConnection> => {
    const connection = await instance.connect()
    connections.push(connection)
    return connection
  }
  return {
    connect,
    close() {
      for (const connection of connections) connection.closeSync()
      instance.closeSync()
    },
  }
}

/** Closes the database whatever happens; its own errors become those of storage. */
export async function usingDatabase<T>(
  folder: string,
  options: Parameters<typeof openDatabase>[1],
  body: (database: Database) => Promise<T>,
): Promise<T> {
  let database: Database | undefined
  try {
    database = await openDatabase(folder, options)
    return await body(database)
  } catch (error) {
    throw databaseFailure(error, `the database in ${folder}`, 'StorageFailed')
  } finally {
    database?.close()
  }
}

/** Some of the rows of a result, at most a few thousand. */
export interface Chunk {
  readonly count: number
  /** As DuckDB has it. */
  item(row: number, column: number): unknown
  /** Undefined when it is no text. */
  value(row: number, column: number): string | undefined
}

/** The result of a query as it comes; it takes the values where it has $1, $2 and so on. */
export async function* chunksOf(
  connection: DuckDBConnection,
  query: string,
  values: DuckDBValue[] = [],
): AsyncGenerator<Chunk> {
  const result = await connection.stream(query, values)
  for (;;) {
    const chunk = await result.fetchChunk()
    if (!chunk || chunk.rowCount === 0) return
    const columns = Array.from({ length: chunk.columnCount }, (_, i) => chunk.getColumnVector(i))
    const item = (row: number, column: number): unknown => columns[column]?.getItem(row)
    yield {
      count: chunk.rowCount,
      item,
      value(row, column) {
        const found = item(row, column)
        return typeof found === 'string' ? found : undefined
      },
    }
  }
}

/** What an error of DuckDB means while `doing` something: `otherwise`, unless the machine or a bug is at fault. Others pass. */
export function databaseFailure(error: unknown, doing: string, otherwise: 'SourceInvalid' | 'StorageFailed'): unknown {
  if (!(error instanceof Error) || !/^([A-Z][A-Za-z ]+ Error|Failed to \w+): /.test(error.message)) return error
  const text = error.message
  const reason = /No space left|Disk quota|not enough disk/i.test(text)
    ? 'StorageFull'
    : /^(INTERNAL|FATAL|TransactionContext|Out of Memory) Error/.test(text)
      ? 'Internal'
      : otherwise
  return new JobFailure(reason, `${doing}: ${brief(text)}`, { cause: error })
}

/** The sentences of an error without the settings, hints and the query that DuckDB lists after them. */
function brief(message: string): string {
  const lines = message
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && line !== '^')
  const end = lines.findIndex((line) => /^(Possible|LINE \d|file =|\* )/.test(line))
  const kept = (end > 0 ? lines.slice(0, end) : lines).map((line) =>
    line.length > 240 ? `${line.slice(0, 240)}…` : line,
  )
  return kept.join('; ').slice(0, 700)
}
