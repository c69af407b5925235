import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Hub, startHub } from '../../test/fixtures/hub.ts'
import { csv, labelledCsv, numberedCsv, pairedCsv, prose, raidCsv } from '../../test/fixtures/sources.ts'
import { prepare } from './prepare.ts'
import { configOf, contextOf, parquetOf, rowsOf } from './preparing.ts'

const commit = '0123456789abcdef0123456789abcdef01234567'
const root = await mkdtemp(join(tmpdir(), 'presets-'))
const hubs: Hub[] = []
after(async () => {
  for (const hub of hubs) hub.close()
  await rm(root, { recursive: true, force: true })
})
let folders = 0
const freshFolder = (): string => join(root, `f${folders++}`)

async function prepareFrom(
  repository: string,
  files: Readonly<Record<string, string | Uint8Array>>,
  change: Parameters<typeof configOf>[1] = {},
  fields: Parameters<typeof configOf>[0][number] = {},
) {
  const bytes = Object.fromEntries(Object.entries(files).map(([path, content]) => [path, Buffer.from(content)]))
  const hub = await startHub({ kind: 'dataset', repository, commit, files: bytes })
  hubs.push(hub)
  const dataDir = freshFolder()
  const huggingFace = { repository, revision: '', files: [], tokenFile: '' }
  const config = configOf([{ license: '', huggingFace, ...fields }], {
    licensePolicy: { requireDeclared: true, allowed: [] },
    ...change,
  })
  const result = await prepare(config, { ...contextOf(dataDir), hubEndpoint: hub.endpoint })
  const rows = [
    ...(await rowsOf(dataDir, result.location, 'train')),
    ...(await rowsOf(dataDir, result.location, 'validation')),
  ]
  return { result, rows, dataDir, hub }
}

const wiki = async (): Promise<Buffer> => {
  const path = join(root, 'wiki.parquet')
  await parquetOf(
    path,
    prose.slice(0, 40).map((text) => ({ text })),
  )
  return readFile(path)
}

const known = [
  {
    repository: 'liamdugan/raid',
    files: {
      'train.csv': raidCsv(40),
      'test.csv': csv([
        ['id', 'generation'],
        ['1', 'x'],
      ]),
    },
    read: 40 * 12 + 20 * 12,
    license: 'MIT',
  },
  {
    repository: 'silentone0725/ai-human-text-detection-v1',
    files: { 'train.csv': labelledCsv(0, 20), 'validation.csv': labelledCsv(20, 10), 'test.csv': labelledCsv(30, 10) },
    read: 80,
    license: 'CC-BY-4.0',
  },
  {
    repository: 'dmitva/human_ai_generated_text',
    files: { 'model_training_dataset.csv': pairedCsv(0, 40) },
    read: 40,
    license: 'CC-BY-4.0',
  },
  {
    repository: 'badhanr/wikipedia_human_written_text',
    files: { 'README.md': '# x', 'data/train-00000-of-00001.parquet': await wiki() },
    read: 40,
    license: 'CC-BY-SA-4.0',
  },
  {
    repository: 'NabeelShar/ai_and_human_text',
    files: { 'train_ai.csv': numberedCsv(0, 40) },
    read: 80,
    license: '',
    change: { licensePolicy: { requireDeclared: false, allowed: [] } },
  },
]
for (const { repository, files, read, license, change } of known)
  test(`${repository}: by its name alone the forty human texts are kept, and nothing else`, async () => {
    const { result, rows } = await prepareFrom(repository, files as never, change ?? {})
    assert.deepEqual(rows.map(({ target }) => target).sort(), prose.slice(0, 40).toSorted())
    assert.equal(result.counts?.read, read)
    assert.deepEqual([result.sources[0]?.revision, result.sources[0]?.license], [commit, license])
  })

test('a repository that states no licence needs an explicit word', async () => {
  const files = { 'train_ai.csv': numberedCsv(0, 40) }
  await assert.rejects(prepareFrom('NabeelShar/ai_and_human_text', files), {
    reason: 'SourceInvalid',
    message:
      /source s0: license is undeclared; .*set sources\[\]\.license .*or licensePolicy\.requireDeclared to false/,
  })
  const declared = await prepareFrom('NabeelShar/ai_and_human_text', files, {}, { license: 'LicenseRef-checked' })
  const report = JSON.parse(await readFile(join(declared.dataDir, declared.result.location, 'report.json'), 'utf8'))
  assert.deepEqual([report.sources[0].license, report.sources[0].licenseEvidence], ['LicenseRef-checked', 'spec'])
})

const refused = [
  {
    what: 'a column that is not there',
    repository: 'liamdugan/raid',
    file: 'train.csv',
    content: raidCsv(1).replace('generation', 'text'),
    message:
      /no column "generation"; it has id, adv_source_id, source_id, model, decoding, repetition_penalty, attack, domain, title, prompt, text/,
  },
  {
    what: 'an unknown label',
    repository: 'silentone0725/ai-human-text-detection-v1',
    file: 'train.csv',
    content: labelledCsv(0, 3) + csv([[prose[5] as string, 'hybrid']]),
    message:
      /row 7, in .*train\.csv, has an unknown value: known is label in \[human, ai\]; label has "ai", "human", "hybrid"/,
  },
  {
    what: 'a label that no row has',
    repository: 'NabeelShar/ai_and_human_text',
    file: 'train_ai.csv',
    content: csv([
      ['text', 'generated'],
      [prose[0] as string, 1],
      [prose[1] as string, '1.0'],
    ]),
    message: /none of its 2 rows is human-written: keep wants generated in \[0\]; generated has "1", "1\.0"/,
  },
]
for (const { what, repository, file, content, message } of refused)
  test(`${repository} with ${what} stops, with what was found`, async () => {
    const files = { [file]: content }
    await assert.rejects(prepareFrom(repository, files, { licensePolicy: { requireDeclared: false, allowed: [] } }), {
      reason: 'SourceInvalid',
      message,
    })
  })

test('of several values asked for, one that no row has stops', async () => {
  const keep = { policy: 'Matching', column: 'label', values: ['human', 'person'] }
  await assert.rejects(prepareFrom('owner/own', { 'a.csv': labelledCsv(0, 3) }, {}, { keep, license: 'MIT' }), {
    reason: 'SourceInvalid',
    message: /none of its 6 rows has label in \[person\]; label has "ai", "human"/,
  })
})

test("a condition of the user's takes the place of the known one on its column, the others stay", async () => {
  const keep = { policy: 'Matching', column: 'attack', values: ['upper_lower'] }
  const { rows } = await prepareFrom('liamdugan/raid', { 'train.csv': raidCsv(20) }, {}, { keep })
  assert.deepEqual(
    rows.map(({ target }) => target).sort(),
    prose
      .slice(0, 20)
      .map((text) => text.toUpperCase())
      .sort(),
  )
})
