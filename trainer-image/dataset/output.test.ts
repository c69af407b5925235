import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileLiteral, usingDatabase } from './database.ts'
import { type Example, exampleWriter } from './output.ts'

const root = await mkdtemp(join(tmpdir(), 'output-'))
after(() => rm(root, { recursive: true, force: true }))

/** More than DuckDB holds together in a table (122,880). */
const ROWS = 130_000
const example = { source: 's', revision: '', license: '', cluster: '', kind: 'Denoise', input: '', target: '' } as const

test('a row group has 8192 rows, the last one what is left, however the rows came', () =>
  usingDatabase(root, { threads: 2, memoryBytes: 100e6 }, async (database) => {
    const writer = await exampleWriter(database)
    for (let from = 0, some = 1; from < ROWS; from += some, some = 1 + ((some * 7) % 5003))
      await writer.append(
        'train',
        Array.from({ length: Math.min(some, ROWS - from) }, (_, i): Example => ({ ...example, id: `${from + i}` })),
      )
    await writer.finish(root, [])
    const train = fileLiteral(join(root, 'train.parquet'))
    const connection = await database.connect()
    const groups = await connection.runAndReadAll(
      `SELECT row_group_num_rows FROM parquet_metadata(${train}) WHERE column_id = 0 ORDER BY row_group_id`,
    )
    const sizes = groups.getRows().map(([rows]) => Number(rows))
    assert.deepEqual(
      sizes,
      Array.from({ length: Math.ceil(ROWS / 8192) }, (_, i) => Math.min(8192, ROWS - 8192 * i)),
    )
    const ordered = await connection.runAndReadAll(
      `SELECT count(*) FROM (SELECT id, row_number() OVER () - 1 AS place FROM ${train}) WHERE id <> place::VARCHAR`,
    )
    assert.equal(Number(ordered.getRows()[0]?.[0]), 0)
  }))
