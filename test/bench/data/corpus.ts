/**
 * A corpus of documents of about 1 kB made from the fixture's prose, with planted near-copies: one document in ten is a copy of an earlier
 * one with a few words changed and its end cut off, at Jaccard similarities of 0.80 to 0.95 over words in fives.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'

/** Of all texts of the fixture, in their order. */
const words: readonly string[] = readFileSync(new URL('../../fixtures/prose.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .flatMap((line) => String(JSON.parse(line).text).split(/\s+/))

/** Words of a document: 1 kB of this prose. */
const LENGTH = 172
/** One word in so many is another word of the prose: without that, documents would share long passages. */
const STRAY_EVERY = 6
const COPY_EVERY = 10
/** A copy's original is at most so many documents before it. */
const COPY_REACH = 100_000
const SHINGLE = 5

/** Marsaglia's xorshift32 over a mixed seed: the bench makes a hundred million of these. */
function randomOf(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1
  const next = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
  for (let i = 0; i < 4; i++) next()
  return next
}

const wordAt = (at: number): string => words[at % words.length] as string

function originalOf(ordinal: number): string[] {
  const random = randomOf(ordinal)
  const begin = Math.floor(random() * words.length)
  return Array.from({ length: LENGTH }, (_, i) =>
    random() * STRAY_EVERY < 1 ? wordAt(Math.floor(random() * words.length)) : wordAt(begin + i),
  )
}

/** The document that this one is a copy of; undefined for an original. */
export function copiedBy(ordinal: number): number | undefined {
  if (ordinal % COPY_EVERY !== COPY_EVERY - 1) return undefined
  const reach = Math.min(ordinal, COPY_REACH)
  const chosen = ordinal - 1 - Math.floor(randomOf(ordinal)() * reach)
  return chosen % COPY_EVERY === COPY_EVERY - 1 ? chosen - 1 : chosen
}

/** A changed word takes five shingles out of each text, and puts five others in; a lost one at the end takes one. */
function copyOf(original: readonly string[], ordinal: number): string[] {
  const random = randomOf(ordinal + 7)
  const shingles = LENGTH - SHINGLE + 1
  const wanted = 0.8 + 0.15 * random()
  const most = Math.floor((shingles * (1 - wanted)) / (1 + wanted) / SHINGLE)
  const changes = Math.floor(random() * (most + 1))
  // (n - lost - 5c) / (n + 5c) = wanted
  const lost = Math.max(0, Math.round(shingles - SHINGLE * changes - wanted * (shingles + SHINGLE * changes)))
  const copy = original.slice(0, LENGTH - lost)
  const apart = Math.floor(copy.length / (changes + 1))
  for (let c = 1; c <= changes; c++) copy[c * apart] = `changed${ordinal % 997}x${c}`
  return copy
}

export function documentOf(ordinal: number): string {
  const original = copiedBy(ordinal)
  return (original === undefined ? originalOf(ordinal) : copyOf(originalOf(original), ordinal)).join(' ')
}

/** Columns of the files: which of them are wanted and how they are made. */
type Columns = Readonly<Record<string, (ordinal: number) => string>>

/** Writes rows [0, count) into `files` parquet files of a new folder, named in the order of the rows. */
export async function writeParquet(folder: string, count: number, files: number, columns: Columns): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const instance = await DuckDBInstance.create(':memory:', { memory_limit: '2GB', temp_directory: `${folder}.tmp` })
  const connection = await instance.connect()
  try {
    for (let file = 0; file < files; file++) {
      const [from, to] = [Math.floor((count * file) / files), Math.floor((count * (file + 1)) / files)]
      await appendRows(connection, columns, from, to)
      const path = join(folder, `part-${String(file).padStart(3, '0')}.parquet`)
      await connection.run(`COPY made TO '${path}' (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 16384)`)
    }
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}

async function appendRows(connection: DuckDBConnection, columns: Columns, from: number, to: number): Promise<void> {
  const names = Object.keys(columns)
  await connection.run(`CREATE OR REPLACE TABLE made (${names.map((name) => `"${name}" VARCHAR`).join(', ')})`)
  const appender = await connection.createAppender('made')
  for (let ordinal = from; ordinal < to; ordinal++) {
    for (const name of names) appender.appendVarchar((columns[name] as Columns[string])(ordinal))
    appender.endRow()
  }
  appender.closeSync()
}

/** The documents as {id, text}. */
export const writeDocuments = (folder: string, count: number): Promise<void> =>
  writeParquet(folder, count, 8, { id: String, text: documentOf })

const shinglesOf = (text: string): Set<string> => {
  const all = text.toLowerCase().split(' ')
  return new Set(Array.from({ length: all.length - SHINGLE + 1 }, (_, i) => all.slice(i, i + SHINGLE).join(' ')))
}

/** |A ∩ B| / |A ∪ B| over words in fives. */
export function jaccard(a: string, b: string): number {
  const [left, right] = [shinglesOf(a), shinglesOf(b)]
  let common = 0
  for (const shingle of left) if (right.has(shingle)) common++
  return common / (left.size + right.size - common)
}
