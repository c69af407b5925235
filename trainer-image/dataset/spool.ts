import type { DuckDBConnection } from '@duckdb/node-api'
import type { Database } from './database.ts'

/** A text that is kept until the near-duplicate search has seen all of them. Its ordinal is its place in the spool. */
export interface SpooledText {
  readonly id: string
  readonly text: string
  /** The other text of its pair; empty when it has none. */
  readonly input: string
}

/** Cleaned texts on disk, in the order in which they came. */
export interface Spool {
  /** All texts in order, some thousands at a time. */
  read(): AsyncGenerator<readonly SpooledText[]>
  /** The texts at the given ordinals, in ascending order of the ordinals; absent ones are left out. */
  pick(ordinals: readonly number[]): Promise<ReadonlyMap<number, SpooledText>>
}

export interface SpoolWriter {
  append(texts: readonly SpooledText[]): Promise<void>
}

/** Texts that come behind the first `before`. */
export async function createSpool(database: Database, before = 0): Promise<SpoolWriter> {
  const writer = await database.connect()
  await writer.run('CREATE TABLE spool (ordinal UINTEGER, id VARCHAR, text VARCHAR, input VARCHAR)')
  let count = before
  return {
    async append(texts) {
      const appender = await writer.createAppender('spool')
      for (const { id, text, input } of texts) {
        appender.appendUInteger(count++)
        appender.appendVarchar(id)
        appender.appendVarchar(text)
        appender.appendVarchar(input)
        appender.endRow()
      }
      appender.closeSync()
    },
  }
}

/** The spools of folders that were closed after their last texts, one behind the other. */
export async function openSpool(database: Database, folders: readonly string[]): Promise<Spool> {
  const spools = folders.map((_, i) => `texts${i}.spool`)
  for (const [i, folder] of folders.entries()) await database.attach(folder, `texts${i}`)
  return {
    async *read() {
      const reader: DuckDBConnection = await database.connect()
      try {
        for (const spool of spools) {
          // Insertion order is the order of the ordinals.
          const result = await reader.stream(`SELECT id, text, input FROM ${spool}`)
          for (;;) {
            const chunk = await result.fetchChunk()
            if (!chunk || chunk.rowCount === 0) break
            const [ids = [], texts = [], inputs = []] = chunk.getColumns()
            yield texts.map((text, i) => ({ id: String(ids[i]), text: String(text), input: String(inputs[i]) }))
          }
        }
      } finally {
        reader.closeSync()
      }
    },
    async pick(ordinals) {
      if (ordinals.length === 0) return new Map()
      const connection = await database.connect()
      const all = spools.map((spool) => `FROM ${spool}`).join(' UNION ALL ')
      const reader = await connection.runAndReadAll(
        `SELECT ordinal, id, text, input FROM (${all}) WHERE ordinal IN (${ordinals.join(', ')}) ORDER BY ordinal`,
      )
      return new Map(
        reader
          .getRows()
          .map(([ordinal, id, text, input]) => [
            Number(ordinal),
            { id: String(id), text: String(text), input: String(input) },
          ]),
      )
    },
  }
}
