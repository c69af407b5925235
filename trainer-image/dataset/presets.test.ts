import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { freshFolders } from '../../test/fixtures/fresh-folders.ts'
import { csv, labelledCsv, machineText, numberedCsv, pairedCsv, prose, raidCsv } from '../../test/fixtures/sources.ts'
import { hubPreparation, parquetOf, rowsOf, textsOf } from './preparing.ts'

const commit = '0123456789abcdef0123456789abcdef01234567'
const freshFolder = await freshFolders('presets-')
const prepareFrom = hubPreparation(freshFolder, commit)

const wiki = async (): Promise<Buffer> => {
  const path = join(await freshFolder(), 'wiki.parquet')
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
  const { rows, dataDir, result } = await prepareFrom('liamdugan/raid', { 'train.csv': raidCsv(20) }, {}, { keep })
  const upper = (texts: readonly string[]): string[] => texts.map((text) => text.toUpperCase()).sort()
  assert.deepEqual(textsOf(rows, 'target').sort(), upper(prose.slice(0, 20)))
  // What a human wrote under another attack is no machine's.
  const aside = textsOf(await rowsOf(dataDir, result.location, 'ai_inputs'), 'text')
  assert.deepEqual(aside.sort(), upper(machineOfRaid(20)))
})

test("what a user asks of another column is not taken for a word about a row's author", async () => {
  const keep = { policy: 'Matching', column: 'source_id', values: ['source-1', 'source-3'] }
  const { rows, dataDir, result } = await prepareFrom('liamdugan/raid', { 'train.csv': raidCsv(4) }, {}, { keep })
  assert.deepEqual(textsOf(rows, 'target').sort(), [prose[1], prose[3]].sort())
  const aside = textsOf(await rowsOf(dataDir, result.location, 'ai_inputs'), 'text')
  assert.deepEqual(aside.sort(), machineOfRaid(4).sort())
})

test("conditions of the user's take the place of the whole known rule", async () => {
  const model = { column: 'model', values: ['human', 'gpt4'] }
  const both = { policy: 'Matching', conditions: [model, { column: 'attack', values: ['upper_lower'] }] }
  const { rows } = await prepareFrom('liamdugan/raid', { 'train.csv': raidCsv(4) }, {}, { keep: both })
  const wanted = [...prose.slice(0, 4), machineText(1)].map((text) => text.toUpperCase())
  assert.deepEqual(textsOf(rows, 'target').sort(), wanted.sort())
  const one = { policy: 'Matching', conditions: [model] }
  const { result } = await prepareFrom('liamdugan/raid', { 'train.csv': raidCsv(4) }, {}, { keep: one })
  assert.deepEqual([result.counts?.read, result.counts?.notHuman], [72, 12])
  await assert.rejects(
    prepareFrom(
      'liamdugan/raid',
      { 'train.csv': raidCsv(1) },
      {},
      { keep: { ...both, conditions: [{ column: 'a' }] } },
    ),
    { reason: 'ConfigurationInvalid', message: /or both in each of keep\.conditions/ },
  )
})

test('a known column that is set to nothing is none: no pairs, no groups', async () => {
  const files = { 'a.csv': pairedCsv(0, 20) }
  const { dataDir, result } = await prepareFrom('dmitva/human_ai_generated_text', files, {}, { inputColumn: '' })
  assert.equal((await rowsOf(dataDir, result.location, 'ai_inputs')).length, 0)
  const format = { sample: 'Paired', systemPrompt: '', userTemplate: '{text}' }
  await assert.rejects(prepareFrom('dmitva/human_ai_generated_text', files, { format }, { inputColumn: '' }), {
    reason: 'ConfigurationInvalid',
  })
  const raid = { 'train.csv': raidCsv(20) }
  const clustersOf = async (fields: { groupColumn?: string }) => {
    const keep = { policy: 'Matching', column: 'attack', values: ['none', 'article_deletion'] }
    const deduplication = { exact: false, nearThreshold: 0, shingleWords: 5 }
    const { rows } = await prepareFrom('liamdugan/raid', raid, { deduplication }, { ...fields, keep })
    return new Set(textsOf(rows, 'cluster')).size
  }
  assert.deepEqual([await clustersOf({}), await clustersOf({ groupColumn: '' })], [20, 40])
})

/** What machines wrote in raidCsv(humans). */
const machineOfRaid = (humans: number): string[] => Array.from({ length: humans / 2 }, (_, i) => machineText(2 * i + 1))

const targets = new Set(prose)

test('machine-written rows are set aside into a sample for the evaluation: none of a human, none attacked, no copies', async () => {
  for (const { repository, files, change } of known) {
    const { dataDir, result } = await prepareFrom(repository, files as never, change ?? {})
    const aside = await rowsOf(dataDir, result.location, 'ai_inputs')
    assert.equal(
      aside.length,
      { 'liamdugan/raid': 20, 'badhanr/wikipedia_human_written_text': 0 }[repository] ?? 40,
      repository,
    )
    assert.equal(new Set(textsOf(aside, 'text')).size, aside.length)
    for (const { text } of aside) assert.ok(!targets.has(text as string) && !text?.includes('\u200b'))
  }
})

test("Paired gives the machine's text of a pair as input, and Denoise where a row has none", async () => {
  const format = { sample: 'Paired', systemPrompt: '', userTemplate: '{text}' }
  const content = pairedCsv(0, 40) + csv([['lone', prose[50] as string, '', 'x']])
  const { rows } = await prepareFrom('dmitva/human_ai_generated_text', { 'a.csv': content }, { format })
  const kinds = new Map(rows.map(({ target, kind }) => [target, kind]))
  assert.deepEqual([kinds.size, kinds.get(prose[50] as string)], [41, 'Denoise'])
  const inputs = new Map(rows.map(({ target, input }) => [target, input]))
  for (const [i, text] of prose.slice(0, 40).entries()) assert.equal(inputs.get(text), machineText(2000 + i))
})

test('a reviewer is told that the known rule does not count, and that not all rows were read', async () => {
  const fields = { keep: { policy: 'All' }, limit: 24 }
  const { dataDir, result } = await prepareFrom('liamdugan/raid', { 'train.csv': raidCsv(4) }, {}, fields)
  const { warnings } = JSON.parse(await readFile(join(dataDir, result.location, 'report.json'), 'utf8'))
  for (const warning of [
    'Source s0: sources[].keep is other than what is known of the repository: human-written is model in [human] and attack in [none].',
    'Source s0: only its first 24 rows were read (sources[].limit).',
  ])
    assert.ok(warnings.includes(warning), warnings.join('\n'))
})

test('Paired without a source of pairs is refused', async () => {
  const format = { sample: 'Paired', systemPrompt: '', userTemplate: '{text}' }
  await assert.rejects(prepareFrom('badhanr/wikipedia_human_written_text', { 'a.csv': 'text\nx\n' }, { format }), {
    reason: 'ConfigurationInvalid',
    message: /format\.sample is "Paired"; expected a source with pairs: sources\[\]\.inputColumn/,
  })
})

test('no RAID source stands on both sides of the split, also when its attacked rows are wanted, and by two sources', async () => {
  const attacks = [
    ['none', 'upper_lower'],
    ['homoglyph', 'article_deletion'],
  ]
  const fields = attacks.map((values) => ({ keep: { policy: 'Matching', column: 'attack', values } }))
  const deduplication = { exact: false, nearThreshold: 0, shingleWords: 5 }
  const change = { split: { trainPercent: 50, seed: 3 }, deduplication }
  const { rows, dataDir, result } = await prepareFrom('liamdugan/raid', { 'train.csv': raidCsv(40) }, change, ...fields)
  const sourceOf = (id = '') => Math.floor((Number(id.slice(3)) - 1) / 12)
  const sides = await Promise.all(
    ['train', 'validation'].map(
      async (side) => new Set((await rowsOf(dataDir, result.location, side)).map(({ id }) => documents[sourceOf(id)])),
    ),
  )
  assert.equal(rows.length, 160)
  assert.ok((sides[0]?.size ?? 0) > 5 && (sides[1]?.size ?? 0) > 5)
  assert.deepEqual(
    [...(sides[0] ?? [])].filter((source) => sides[1]?.has(source)),
    [],
  )
})
/** Of raidCsv(40), by document: its source. Every second source has a machine's text after its own. */
const documents = Array.from({ length: 40 }, (_, i) => (i % 2 ? [i, i] : [i])).flat()
