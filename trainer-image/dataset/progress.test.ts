import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { csv, prose } from '../../test/fixtures/sources.ts'
import { buildDataset } from './build.ts'
import { configOf, parquetOf, surroundingsOf } from './preparing.ts'
import { type Progress, progressBoard } from './progress.ts'
import { readingOf } from './reading.ts'
import { settingsOf } from './settings.ts'
import { workFolderOf } from './work-folder.ts'

const root = await mkdtemp(join(tmpdir(), 'progress-'))
after(() => rm(root, { recursive: true, force: true }))

test('the time that is left is told at the pace of the stage, and at the one before while that is young', () => {
  let seconds = 0
  const board = progressBoard(() => seconds * 1000)
  const at = (second: number, stage: Progress['stage'], percent: number) => {
    seconds = second
    board.report({ stage, source: '', rows: 0, percent })
    return board.current.remainingSeconds
  }
  assert.equal(at(0, 'Reading', 0), undefined)
  assert.equal(at(1, 'Cleaning', 20), undefined)
  assert.equal(at(2, 'Cleaning', 30), undefined)
  assert.equal(at(11, 'Cleaning', 40), 30)
  assert.equal(at(21, 'Cleaning', 60), 20)
  assert.equal(at(21, 'Deduplicating', 60), 20)
  assert.equal(at(121, 'Deduplicating', 70), 300)
})

test('a stage that says nothing of bytes leaves those of the one before', () => {
  const board = progressBoard()
  board.report({ stage: 'Cleaning', source: 'a', rows: 1, percent: 30, bytes: 5, totalBytes: 9 })
  board.report({ stage: 'Deduplicating', source: '', rows: 1, percent: 60 })
  assert.deepEqual([board.current.bytes, board.current.totalBytes], [5, 9])
})

test('files and sources that are read are bytes; a limit ends a source early', async () => {
  const paths = await Promise.all(
    [100, 300, 600].map(async (size) => {
      const path = join(root, `${size}.csv`)
      await writeFile(path, 'x'.repeat(size))
      return { path, format: 'CSV' as const }
    }),
  )
  const at = await readingOf([
    { texts: paths.slice(0, 2), limit: Number.POSITIVE_INFINITY },
    { texts: paths.slice(2), limit: 10 },
  ])
  assert.deepEqual(at(0, 7, 1, 0.5), { bytes: 250, totalBytes: 1000, done: 0.25 })
  assert.deepEqual(at(1, 5, 0, 0.1), { bytes: 460, totalBytes: 1000, done: 0.7 })
})

for (const ending of ['csv', 'csv.gz', 'jsonl', 'parquet'])
  test(`a preparation from ${ending} tells rows and bytes that only grow, to the end of the file`, async () => {
    const texts = Array.from({ length: 6000 }, (_, i) => `${prose[i % 500]} ${i} ${i * 7}`)
    const path = join(root, `texts.${ending}`)
    const rows = csv([['text'], ...texts.map((text) => [text])])
    if (ending === 'parquet')
      await parquetOf(
        path,
        texts.map((text) => ({ text })),
      )
    else if (ending === 'jsonl') await writeFile(path, texts.map((text) => JSON.stringify({ text })).join('\n'))
    else await writeFile(path, ending === 'csv' ? rows : gzipSync(rows))
    const told: Progress[] = []
    const work = workFolderOf(join(root, ending, 'datasets'), 'dataset-1', 'pod-1')
    await buildDataset(
      settingsOf(configOf([{ filePath: path }])),
      work,
      await surroundingsOf(root, work, (progress) => told.push(progress)),
    )
    const percents = told.map(({ percent }) => percent)
    assert.deepEqual(
      percents,
      percents.toSorted((a, b) => a - b),
    )
    const cleaning = told.filter(({ stage }) => stage === 'Cleaning')
    assert.ok(cleaning.length > 1)
    for (const figures of [cleaning.map(({ rows }) => rows), cleaning.map(({ bytes = 0 }) => bytes)])
      assert.deepEqual(
        figures,
        figures.toSorted((a, b) => a - b),
      )
    const { rows: read, bytes = 0, totalBytes = 0 } = cleaning.at(-1) as Progress
    assert.equal(read, 6000)
    assert.ok(totalBytes > 0 && bytes >= 0.9 * totalBytes && bytes <= totalBytes, `${bytes} of ${totalBytes}`)
    assert.deepEqual(
      [...new Set(told.map(({ stage }) => stage))],
      ['Reading', 'Cleaning', 'Deduplicating', 'Splitting', 'Writing'],
    )
  })
