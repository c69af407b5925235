import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { DuckDBInstance } from '@duckdb/node-api'
import { type DeepPartial, Source } from '#proto/humanizer/trainer/v1/preparation.ts'
import { collect } from './collect.ts'
import { parquetOf, type Row } from './preparing.ts'
import { Lowest, RowRanks, rankOf } from './sampled.ts'
import { planSource } from './source.ts'
import type { SpooledText } from './spool.ts'

const folder = await mkdtemp(join(tmpdir(), 'humanizer-selection-'))
const instance = await DuckDBInstance.create(':memory:', { threads: '2' })
const connection = await instance.connect()
after(async () => {
  connection.closeSync()
  instance.closeSync()
  await rm(folder, { recursive: true })
})

const cleaning = {
  minCharacters: 5,
  maxCharacters: 200,
  minWords: 1,
  removeUrls: true,
  removeEmails: true,
  languages: [],
}

/** The rows as two files of one source, in the format. */
async function collected(format: 'CSV' | 'Parquet' | 'JSONL', rows: readonly Row[], source: DeepPartial<Source>) {
  const planned = planSource(Source.fromPartial({ name: 's', filePath: 'x', format, ...source }))
  const halves = [rows.slice(0, rows.length / 2), rows.slice(rows.length / 2)]
  const texts = await Promise.all(
    halves.map(async (half, i) => {
      const path = join(folder, `${i}.${format}`)
      if (format === 'Parquet') await parquetOf(path, half)
      else if (format === 'JSONL') await writeFile(path, half.map((row) => `${JSON.stringify(row)}\n`).join(''))
      else await writeFile(path, [Object.keys(half[0]!), ...half.map(Object.values)].map(lineOf).join(''))
      return { path, format }
    }),
  )
  const kept: SpooledText[] = []
  const spool = { append: async (more: readonly SpooledText[]) => void kept.push(...more) }
  const watch = { signal: new AbortController().signal, onRows: () => {} }
  const located = { ...planned, texts, revision: '', remarks: [] }
  const result = await collect(connection, [located], { cleaning, exact: true, seed: 1 }, spool, watch)
  return { kept, result }
}
const lineOf = (fields: readonly string[]): string =>
  `${fields.map((field) => `"${field.replaceAll('"', '""')}"`).join(',')}\n`

const preset: DeepPartial<Source> = {
  filePath: undefined,
  huggingFace: { repository: 'liamdugan/raid', revision: '', files: [], tokenFile: '' },
}
const rowsOf = (count: number, more: (i: number) => Row): Row[] =>
  Array.from({ length: count }, (_, i) => ({ text: `Row number ${i} says so.`, ...more(i) }))
const raid = rowsOf(6000, (i) => ({
  model: ['human', 'gpt2', 'gpt4'][i % 3]!,
  attack: ['none', 'homoglyph', 'number', 'synonym'][i % 4]!,
}))

// JSONL is read row by row, and nothing of it is left out.
const cases: readonly { readonly what: string; readonly rows: readonly Row[]; readonly source: DeepPartial<Source> }[] =
  [
    {
      what: 'RAID',
      rows: raid.map(({ text, ...row }) => ({ generation: text!, source_id: 'x', ...row })),
      source: preset,
    },
    {
      what: 'RAID with quotes and long texts',
      rows: raid
        .slice(0, 600)
        .map(({ text, ...row }) => ({ generation: `He said "${text}", twice.`, source_id: 'x', ...row })),
      source: preset,
    },
    {
      what: 'a limit',
      rows: raid,
      source: { limit: 3500, keep: { policy: 'Matching', column: 'attack', values: ['none'] } },
    },
    {
      what: 'labels that are numbers',
      rows: rowsOf(50, (i) => ({ label: ['0', '1', '0.0'][i % 3]! })),
      source: { keep: { policy: 'Matching', column: 'label', values: ['0'] } },
    },
    {
      what: 'more different values than are listed',
      rows: rowsOf(900, (i) => ({ label: `l${i % 450}` })),
      source: { keep: { policy: 'Matching', column: 'label', values: ['l7'] } },
    },
    {
      what: 'a column that is called as DuckDB calls its row numbers',
      rows: rowsOf(50, (i) => ({ label: `l${i % 2}`, file_row_number: 'x' })),
      source: { keep: { policy: 'Matching', column: 'label', values: ['l1'] } },
    },
  ]
for (const { what, rows, source } of cases)
  for (const format of ['Parquet', 'CSV'] as const)
    test(`a ${format} file gives what the rows give one by one: ${what}`, async () => {
      const [selected, all] = [await collected(format, rows, source), await collected('JSONL', rows, source)]
      assert.ok(selected.kept.length > 0)
      assert.deepEqual(selected, all)
    })

for (const format of ['Parquet', 'CSV', 'JSONL'] as const)
  test(`a ${format} file with a label that RAID does not have stops, and names the row`, async () => {
    const rows = raid.map(({ text, ...row }, i) => ({
      ...{ generation: text!, source_id: 'x', ...row },
      ...(i === 4321 && { model: 'gpt9', attack: 'homoglyph' }),
    }))
    await assert.rejects(collected(format, rows, preset), /row 4322, in .* unknown value: .*"gpt9"/)
  })

test('rows that are named by a number have the ranks of their names', () => {
  const ranks = new RowRanks(7, 'raid-')
  for (let number = 1; number < 3000; number += number % 7 ? 1 : 5)
    assert.equal(ranks.rankOf(number), rankOf(7, `raid-${number}`))
})

test('the lowest ranks are held, whatever the order, of equal ones the first', () => {
  const ranks = Array.from({ length: 500 }, (_, i) => rankOf(3, `${i}`) % 100)
  const wanted = ranks.map((rank, item) => ({ rank, item })).sort((a, b) => a.rank - b.rank)
  const lowest = new Lowest<number>(40)
  const below = new Lowest<number>(40, 5)
  for (const [i, rank] of ranks.entries()) for (const each of [lowest, below]) each.offer(rank, () => i)
  assert.deepEqual(lowest.held, wanted.slice(0, 40))
  assert.equal(lowest.limit, wanted[39]!.rank)
  assert.deepEqual(below.held, wanted.filter(({ rank }) => rank < 5).slice(0, 40))
  assert.equal(
    new Lowest(0).offer(0, () => assert.fail()),
    false,
  )
})
