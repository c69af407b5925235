/**
 * dedup.ts FOLDER RESULT THREADS [MEMORY_BYTES WORK]: a near-duplicate search over the documents' parquet files a round, from the files to
 * the clusters: u32 for each document, into RESULT.
 */
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { normalForm } from '../../../trainer-image/dataset/cleaning.ts'
import { readRows } from '../../../trainer-image/dataset/read.ts'
import { nearDuplicateIndex } from '../../../trainer-image/native/dedup.ts'
import { answerRounds } from '../answering.ts'

const [folder = '', result = '', threads = '', bytes, work] = process.argv.slice(2)

await answerRounds(async () => {
  const memory = bytes && work ? { memory: { bytes: Number(bytes), folder: work } } : {}
  const index = nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads: Number(threads), ...memory })
  const instance = await DuckDBInstance.create(':memory:', { threads, memory_limit: '400MB' })
  const connection = await instance.connect()
  // The next texts are read while the index takes the ones before.
  let taken = Promise.resolve()
  for (const name of readdirSync(folder).sort())
    for await (const { count, value } of readRows(connection, { path: join(folder, name), format: 'Parquet' }, [
      'text',
    ])) {
      const texts = Array.from({ length: count }, (_, row) => normalForm(value(row, 0) ?? ''))
      await taken
      taken = index.add(texts)
    }
  await taken
  connection.closeSync()
  instance.closeSync()
  writeFileSync(result, await index.clusters())
})
