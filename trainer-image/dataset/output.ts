import { join } from 'node:path'
import type { Database } from './database.ts'
import { literal } from './database.ts'
import type { MachineText } from './machine-texts.ts'

/** One training example; the columns of train.parquet and validation.parquet in their order. */
export interface Example {
  readonly id: string
  readonly source: string
  readonly revision: string
  readonly license: string
  readonly cluster: string
  readonly kind: 'Identity' | 'Denoise' | 'Paired'
  readonly input: string
  readonly target: string
}

export const columns = [
  'id',
  'source',
  'revision',
  'license',
  'cluster',
  'kind',
  'input',
  'target',
] as const satisfies readonly (keyof Example)[]

export type Side = 'train' | 'validation'

/** Rows of one row group. Fixed, as are order and compression: equal examples give equal bytes. */
const ROWS_PER_GROUP = 8192

export interface ExampleWriter {
  append(side: Side, examples: readonly Example[]): Promise<void>
  /** Writes the three files into the folder; what has no rows is a file without rows. */
  finish(folder: string, machineTexts: readonly MachineText[]): Promise<void>
}

export async function exampleWriter(database: Database): Promise<ExampleWriter> {
  const connection = await database.connect()
  // Others would be compressed and written to a log, which takes four times as long.
  for (const side of ['train', 'validation'])
    await connection.run(`CREATE TEMPORARY TABLE ${side} (${columns.map((name) => `${name} VARCHAR`).join(', ')})`)
  return {
    async append(side, examples) {
      if (examples.length === 0) return
      const appender = await connection.createAppender(side)
      for (const example of examples) {
        for (const name of columns) appender.appendVarchar(example[name])
        appender.endRow()
      }
      appender.closeSync()
    },
    async finish(folder, machineTexts) {
      await connection.run(`CREATE TEMPORARY TABLE ai_inputs (id VARCHAR, source VARCHAR, text VARCHAR)`)
      const appender = await connection.createAppender('ai_inputs')
      for (const { id, source, text } of machineTexts) {
        for (const value of [id, source, text]) appender.appendVarchar(value)
        appender.endRow()
      }
      appender.closeSync()
      // With more, DuckDB holds row groups for each beside those that wait for their turn: more than a small setting's share of the memory.
      await connection.run('SET threads = 1')
      for (const table of ['train', 'validation', 'ai_inputs'])
        await connection.run(
          `COPY (SELECT * FROM ${table}) TO ${literal(join(folder, `${table}.parquet`))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${ROWS_PER_GROUP})`,
        )
    },
  }
}
