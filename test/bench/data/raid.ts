/** Files in RAID's schema and proportions: twelve authors, one of them human, each text once as it is and under eleven attacks. */

import { once } from 'node:events'
import { createWriteStream, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { documentOf } from './corpus.ts'

const columns = [
  ...['id', 'adv_source_id', 'source_id', 'model', 'decoding', 'repetition_penalty', 'attack'],
  ...['domain', 'title', 'prompt', 'generation'],
]
const authors = [
  ...['human', 'chatgpt', 'gpt2', 'gpt3', 'gpt4', 'cohere', 'cohere-chat', 'llama-chat', 'mistral', 'mistral-chat'],
  ...['mpt', 'mpt-chat'],
]
const attacks = [
  ...['none', 'alternative_spelling', 'article_deletion', 'homoglyph', 'insert_paragraphs', 'number', 'paraphrase'],
  ...['perplexity_misspelling', 'synonym', 'upper_lower', 'whitespace', 'zero_width_space'],
]

function rowOf(ordinal: number): readonly string[] {
  const attack = attacks[ordinal % 12] as string
  const text = Math.floor(ordinal / 12)
  const author = authors[text % 12] as string
  const uuid = `${ordinal.toString(16).padStart(8, '0')}-0000-4000-8000-000000000000`
  const settings = author === 'human' ? ['', ''] : ['greedy', 'no']
  const body = documentOf(ordinal)
  const middle = body.indexOf(' ', 500)
  return [
    ...[uuid, `a${text}`, `s${Math.floor(text / 12)}`, author, ...settings, attack, 'books', `A title, number ${text}`],
    author === 'human' ? '' : `Write the body of a book's chapter titled "A title, number ${text}".`,
    `${body.slice(0, middle)}\n\n"${body.slice(middle + 1)}" See https://example.org/${ordinal} or a${ordinal}@example.org.`,
  ]
}

const field = (text: string): string => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)

/** Writes raid.csv of about so many bytes, and raid.parquet of the same rows; answers with the number of rows. */
export async function writeRaid(folder: string, bytes: number): Promise<number> {
  mkdirSync(folder, { recursive: true })
  const csv = join(folder, 'raid.csv')
  const file = createWriteStream(csv, { highWaterMark: 1 << 22 })
  let written = file.write(`${columns.join(',')}\n`) ? 1 : 0
  let rows = 0
  while (written < bytes) {
    let lines = ''
    for (let end = rows + 1000; rows < end; rows++) lines += `${rowOf(rows).map(field).join(',')}\n`
    written += Buffer.byteLength(lines)
    if (!file.write(lines)) await once(file, 'drain')
  }
  file.end()
  await once(file, 'finish')
  const instance = await DuckDBInstance.create(':memory:', {
    memory_limit: '8GB', // 2 GB of CSV want more than 2
    temp_directory: `${folder}.tmp`,
    threads: '1',
  })
  const connection = await instance.connect()
  await connection.run(
    `COPY (FROM read_csv('${csv}', all_varchar=true, header=true, quote='"', escape='"', delim=',', parallel=false)) TO '${join(folder, 'raid.parquet')}' (FORMAT parquet, COMPRESSION snappy)`,
  )
  connection.closeSync()
  instance.closeSync()
  return rows
}
