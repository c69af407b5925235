/** clean.ts FILE FORMAT THREADS: reads a file in RAID's schema, keeps what a human wrote and nobody attacked, and cleans it, a round. */
import { DuckDBInstance } from '@duckdb/node-api'
import { Source } from '../../../proto/generated/humanizer/trainer/v1/preparation.ts'
import { collect } from '../../../trainer-image/dataset/collect.ts'
import { planSource } from '../../../trainer-image/dataset/source.ts'
import { answerRounds } from '../answering.ts'

const [path = '', format = '', threads = ''] = process.argv.slice(2)
const huggingFace = { repository: 'liamdugan/raid', revision: '', files: [], tokenFile: '' }
const source = planSource(Source.fromPartial({ name: 'raid', huggingFace, format }))
const located = { ...source, texts: [{ path, format: format as 'CSV' | 'Parquet' }], revision: '', remarks: [] }
const cleaning = {
  minCharacters: 50,
  maxCharacters: 8000,
  minWords: 10,
  removeUrls: true,
  removeEmails: true,
  languages: [],
}

await answerRounds(async () => {
  const instance = await DuckDBInstance.create(':memory:', { threads })
  const connection = await instance.connect()
  let texts = 0
  const spool = {
    async append(kept: readonly unknown[]) {
      texts += kept.length
    },
  }
  const watch = { signal: new AbortController().signal, onRows: () => {} }
  await collect(connection, [located], { cleaning, exact: true, seed: 42 }, spool, watch)
  if (texts === 0) throw new Error('no text was kept')
  connection.closeSync()
  instance.closeSync()
})
