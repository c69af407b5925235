import assert from 'node:assert/strict'
import { globSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import { load } from 'js-yaml'
import { labelledCsv, prose } from '../../test/fixtures/sources.ts'
import { columns } from './output.ts'
import { prepare } from './prepare.ts'
import { type Change, configOf, contextOf } from './preparing.ts'

const root = await mkdtemp(join(tmpdir(), 'card-'))
after(() => rm(root, { recursive: true, force: true }))

async function prepared(
  content: string,
  change: Change = {},
  fields = { keep: { policy: 'Matching', column: 'label', values: ['human'] }, license: 'CC0-1.0' },
) {
  const dataDir = await mkdtemp(join(root, 'data-'))
  const filePath = join(dataDir, 'source.csv')
  await writeFile(filePath, content)
  const { location, digest } = await prepare(configOf([{ filePath, ...fields }], change), contextOf(dataDir))
  const folder = join(dataDir, location)
  const card = await readFile(join(folder, 'README.md'), 'utf8')
  return { folder, card, digest, front: load(card.split('---\n')[1] ?? '') as Card }
}
interface Card {
  readonly license: unknown
  readonly size_categories: unknown
  readonly language?: unknown
  readonly configs: readonly { config_name: string; data_files: readonly { split: string; path: string }[] }[]
}
const filesOf = ({ configs }: Card) =>
  configs.flatMap(({ config_name, data_files }) =>
    data_files.map(({ split, path }) => `${config_name} ${split} ${path}`),
  )

test('the card names every file with rows as a split, and DuckDB reads each of them as it is', async () => {
  const { folder, front, card, digest } = await prepared(labelledCsv(0, 120))
  assert.deepEqual(filesOf(front), [
    'default train train.parquet',
    'default validation validation.parquet',
    'ai_inputs test ai_inputs.parquet',
  ])
  assert.deepEqual([front.license, front.size_categories], [['cc0-1.0'], ['n<1K']])
  assert.ok(card.includes(digest))
  const connection = await (await DuckDBInstance.create(':memory:')).connect()
  const query = async (sql: string) => (await connection.runAndReadAll(sql)).getRowsJson()
  const both = `read_parquet(['${folder}/train.parquet', '${folder}/validation.parquet'])`
  assert.deepEqual(
    await query(`SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM ${both})`),
    columns.map((name) => [name, 'VARCHAR']),
  )
  assert.deepEqual(await query(`SELECT count(*), count(DISTINCT target), count(target) FROM ${both}`), [
    ['120', '120', '120'],
  ])
  assert.deepEqual(await query(`SELECT count(*) > 50 FROM '${folder}/ai_inputs.parquet'`), [[true]])
  // `datasets` takes the paths for patterns: each finds its file and no other, and every parquet file is found. make bench SUITE=data loads one with it.
  const found = front.configs.flatMap(({ data_files }) =>
    data_files.flatMap(({ path }) => globSync(path, { cwd: folder })),
  )
  assert.deepEqual(found.toSorted(), globSync('**/*.parquet', { cwd: folder }).toSorted())
  for (const { data_files } of front.configs) for (const { split } of data_files) assert.match(split, /^\w+(\.\w+)*$/)
  // The tables of the card and the columns of the rows are the same.
  for (const name of columns) assert.match(card, new RegExp(`^\\| ${name} \\|`, 'm'))
})

test('the card says the languages when they were asked for', async () => {
  const cleaning = { minCharacters: 50, maxCharacters: 8000, minWords: 10, removeUrls: true, removeEmails: true }
  const { front } = await prepared(labelledCsv(0, 10), { cleaning: { ...cleaning, languages: ['en'] } })
  assert.deepEqual(front.language, ['en'])
})

test('splits without rows are left out, and a licence that the Hub does not know is another', async () => {
  const all = { keep: { policy: 'All', column: '', values: [] }, license: 'LicenseRef-own' }
  const content = `text\n${prose
    .slice(0, 3)
    .map((text) => `"${text.replaceAll('"', '""')}"`)
    .join('\n')}\n`
  const { front } = await prepared(content, { split: { trainPercent: 100, seed: 1 } }, all)
  assert.deepEqual(filesOf(front), ['default train train.parquet'])
  assert.equal(front.license, 'other')
})
