/** duckdb-read.ts FILE FORMAT THREADS: DuckDB alone reads the three columns that RAID's preset wants, all bytes of them, a round. */
import { DuckDBInstance } from '@duckdb/node-api'
import { answerRounds } from '../answering.ts'

const [path = '', format = '', threads = ''] = process.argv.slice(2)
const table =
  format === 'CSV'
    ? `read_csv('${path}', all_varchar=true, header=true, quote='"', escape='"')`
    : `read_parquet('${path}')`

await answerRounds(async () => {
  const instance = await DuckDBInstance.create(':memory:', { threads })
  const connection = await instance.connect()
  const sums = ['model', 'attack', 'generation'].map((name) => `sum(strlen(${name}))`)
  await connection.runAndReadAll(`SELECT count(*), ${sums.join(', ')} FROM ${table}`)
  connection.closeSync()
  instance.closeSync()
})
