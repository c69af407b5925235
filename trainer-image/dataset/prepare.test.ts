import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { DuckDBInstance } from '@duckdb/node-api'
import { PrepareConfig, type Source } from '#proto/humanizer/trainer/v1/preparation.ts'
import { JobFailure } from '../job/failure.ts'
import { verifySealed } from '../storage/sealed.ts'
import { corrupt } from './denoise.ts'
import { prepare } from './prepare.ts'
import { type Change, configOf, contextOf, type Row, rowsOf } from './preparing.ts'
import { randomOf } from './random.ts'

const fixture = fileURLToPath(new URL('../../test/fixtures/prose.jsonl', import.meta.url))
const folder = await mkdtemp(join(tmpdir(), 'prepare-'))
after(() => rm(folder, { recursive: true, force: true }))

let made = 0
const freshFolder = async (): Promise<string> => {
  const path = join(folder, `${made++}`)
  await mkdir(path)
  return path
}

async function source(content: string | Buffer, name = 'source.jsonl'): Promise<string> {
  const path = join(await freshFolder(), name)
  await writeFile(path, content)
  return path
}

const jsonl = (rows: readonly object[]): string => `${rows.map((row) => JSON.stringify(row)).join('\n')}\n`

const prose: readonly { id: string; text: string }[] = (await readFile(fixture, 'utf8'))
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line))

const texts = prose.map(({ text }) => text)
const someText = texts[0] as string

/** A copy with every 40th word changed: J of its 5-word shingles is about (1 − 5/40)/(1 + 5/40) = 0.78. */
const edited = (text: string, every: number): string =>
  text
    .split(' ')
    .map((word, i) => (i % every === every - 1 ? `${word}ish` : word))
    .join(' ')

test('prose with planted copies becomes a sealed dataset whose counts add up', async () => {
  const long = texts.filter((text) => text.split(' ').length > 120)
  const exact = texts.slice(0, 20).map((text) => ` ${text.toUpperCase()}\t`)
  const near = long.slice(0, 20).map((text) => edited(text, 100))
  const apart = long.slice(20, 40).map((text) => edited(text, 12))
  const second = jsonl([...exact, ...near, ...apart, 'Too short.'].map((text) => ({ text })))
  const dataDir = await freshFolder()
  const result = await prepare(
    configOf([{ filePath: fixture }, { filePath: await source(second) }]),
    contextOf(dataDir),
  )

  assert.deepEqual(result.sources[0]?.counts, {
    ...zero,
    read: 600,
    train: result.sources[0]?.counts?.train,
    validation: result.sources[0]?.counts?.validation,
  })
  const { exactDuplicates, nearDuplicates, crossSourceDuplicates, tooShort, read } = result.sources[1]?.counts ?? zero
  assert.deepEqual(
    { exactDuplicates, nearDuplicates, crossSourceDuplicates, tooShort, read },
    { exactDuplicates: 20, nearDuplicates: 20, crossSourceDuplicates: 40, tooShort: 1, read: 61 },
  )
  assert.equal(result.counts?.train, 589)
  assert.equal(result.counts?.validation, 31)

  const manifest = await verifySealed(join(dataDir, result.location))
  assert.equal(manifest.digest, result.digest)
  assert.equal(result.location, `datasets/${result.digest.slice(7)}`)
  assert.deepEqual(
    (await readdir(join(dataDir, 'datasets'))).sort(),
    ['.work', 'by-spec', result.digest.slice(7)].sort(),
  )
  const train = await rowsOf(dataDir, result.location, 'train')
  const validation = await rowsOf(dataDir, result.location, 'validation')
  assert.equal(train.length, 589)
  assert.equal(validation.length, 31)
  for (const row of [...train, ...validation]) {
    assert.deepEqual(Object.keys(row), ['id', 'source', 'revision', 'license', 'cluster', 'kind', 'input', 'target'])
    assert.equal(row.kind, 'Denoise')
    assert.equal(row.license, 'CC0-1.0')
    assert.equal(row.input, corrupt(row.target as string, 42, row.id as string))
  }
  const description = JSON.parse(await readFile(join(dataDir, result.location, 'dataset.json'), 'utf8'))
  assert.deepEqual(description, {
    version: 1,
    format: { sample: 'Denoise', systemPrompt: 'system', userTemplate: 'Rewrite: {text}' },
    specHash: 'spec-1',
    split: { trainPercent: 95, seed: 42 },
  })
  const report = await readFile(join(dataDir, result.location, 'report.md'), 'utf8')
  assert.ok(report.includes(result.summary))
  assert.match(report, /Denoise, 620 examples: [6-9]\d\.\d % of the words/)
  assert.match(report, /\| s1 \| 61 \| 0 \| 1 \| 0 \| 0 \| 0 \| 0 \| 20 \| 20 \|/)
})

const zero = {
  read: 0,
  notHuman: 0,
  tooShort: 0,
  tooLong: 0,
  tooFewWords: 0,
  contaminated: 0,
  otherLanguage: 0,
  exactDuplicates: 0,
  nearDuplicates: 0,
  train: 0,
  validation: 0,
  crossSourceDuplicates: 0,
}

test('the same spec on another volume gives the same bytes, another seed or sample another digest', async () => {
  const digestOf = async (change: Change) =>
    (await prepare(configOf([{ filePath: fixture }], change), contextOf(await freshFolder()))).digest
  const once = await digestOf({})
  assert.equal(await digestOf({}), once)
  assert.notEqual(await digestOf({ split: { trainPercent: 95, seed: 43 } }), once)
  assert.notEqual(
    await digestOf({ format: { sample: 'Identity', systemPrompt: 'system', userTemplate: '{text}' } }),
    once,
  )
})

test('identity gives the text as its own input', async () => {
  const dataDir = await freshFolder()
  const format = { sample: 'Identity', systemPrompt: '', userTemplate: '{text}' }
  const { location } = await prepare(configOf([{ filePath: fixture }], { format }), contextOf(dataDir))
  for (const row of await rowsOf(dataDir, location, 'train')) assert.equal(row.input, row.target)
})

test("a chat template of the user's is part of what is prepared", async () => {
  const dataDir = await freshFolder()
  const format = { sample: 'Identity', systemPrompt: '', userTemplate: '{text}', chatTemplate: '{{ messages }}' }
  const { location } = await prepare(configOf([{ filePath: fixture }], { format }), contextOf(dataDir))
  assert.deepEqual(JSON.parse(await readFile(join(dataDir, location, 'dataset.json'), 'utf8')).format, format)
})

test('what is sealed is returned without being prepared again; what is damaged is prepared again', async () => {
  const dataDir = await freshFolder()
  const path = await source(jsonl(prose))
  const first = await prepare(configOf([{ filePath: path }]), contextOf(dataDir))
  await rm(path)
  assert.deepEqual(await prepare(configOf([{ filePath: path }]), contextOf(dataDir)), first)
  await truncate(join(dataDir, first.location, 'train.parquet'), 100)
  await assert.rejects(prepare(configOf([{ filePath: path }]), contextOf(dataDir)), { reason: 'NotFound' })
  await writeFile(path, jsonl(prose))
  assert.deepEqual(await prepare(configOf([{ filePath: path }]), contextOf(dataDir)), first)
  await verifySealed(join(dataDir, first.location))
})

test('no cluster of copies crosses the split, whatever is planted, when duplicates are kept', async () => {
  for (let seed = 0; seed < 5; seed++) {
    const random = randomOf(seed, 'copies')
    const rows = Array.from({ length: 300 }, () => ({ text: texts[Math.floor(random() * 60)] as string }))
    const dataDir = await freshFolder()
    const change = {
      deduplication: { exact: false, nearThreshold: 0, shingleWords: 5 },
      split: { trainPercent: 70, seed },
    }
    const { location, counts } = await prepare(
      configOf([{ filePath: await source(jsonl(rows)) }], change),
      contextOf(dataDir),
    )
    assert.equal((counts?.train ?? 0) + (counts?.validation ?? 0), 300)
    const train = new Set((await rowsOf(dataDir, location, 'train')).map(({ target }) => target))
    const validation = await rowsOf(dataDir, location, 'validation')
    assert.ok(validation.length > 0)
    for (const { target } of validation) assert.ok(!train.has(target))
  }
})

test('near copies never stand on both sides of the split', async () => {
  const near = texts.filter((text) => text.split(' ').length > 120).map((text) => ({ text: edited(text, 100) }))
  const dataDir = await freshFolder()
  const { location } = await prepare(
    configOf([{ filePath: await source(jsonl([...prose, ...near])) }], { split: { trainPercent: 50, seed: 1 } }),
    contextOf(dataDir),
  )
  const stems = (rows: readonly Row[]) => rows.map(({ target }) => (target as string).slice(0, 60))
  const train = new Set(stems(await rowsOf(dataDir, location, 'train')))
  for (const stem of stems(await rowsOf(dataDir, location, 'validation'))) assert.ok(!train.has(stem), stem)
})

const csv = (rows: readonly (readonly string[])[]): string =>
  rows.map((row) => row.map((field) => `"${field.replaceAll('"', '""')}"`).join(',')).join('\n')
const labelled = (label: string, text: string) => ({ label, text })

const readable = [
  {
    files: 'quoted CSV with line breaks and quotes',
    name: 'a.csv',
    content: csv([
      ['text', 'label'],
      [`${someText}\n\n"And" so, on`, 'human'],
    ]),
    want: 1,
  },
  {
    files: 'CSV with a byte order mark and CRLF',
    name: 'a.csv',
    content: `\ufeffid,text\r\n1,"${someText.replaceAll('"', '')}"\r\n`,
    want: 1,
  },
  { files: 'semicolon CSV', name: 'a.csv', content: `id;text\n1;"${someText.replaceAll('"', '')}"\n`, want: 1 },
  { files: 'TSV', name: 'a.tsv', content: `id\ttext\n1\t${someText.replaceAll('"', '')}\n`, want: 1 },
  {
    files: 'text with NUL bytes in it',
    name: 'a.csv',
    content: csv([['text'], [`${someText.slice(0, 30)}\0${someText.slice(30)}`]]),
    want: 1,
  },
  {
    files: 'paragraphs of a plain text, wrapped lines joined',
    name: 'a.txt',
    content: `${someText.replaceAll(', ', ',\r\n')}\r\n \r\n\r\n${texts[1]}`,
    want: 2,
  },
  {
    files: 'JSONL with blank lines and rows without a text',
    name: 'a.jsonl',
    content: `${jsonl([{ text: someText }])}\n${jsonl([{ other: 1 }])}`,
    want: 1,
  },
  {
    files: 'JSON that is one array of all rows',
    name: 'a.json',
    content: `\n ${JSON.stringify([{ text: someText }, { other: 1 }, { text: texts[1] }], null, 2)}`,
    want: 2,
  },
  { files: 'such JSON, packed', name: 'a.json.gz', content: gzipSync(JSON.stringify([{ text: someText }])), want: 1 },
  {
    files: 'a name with the characters of a glob',
    name: 'a[1]*?.jsonl',
    content: jsonl([{ text: someText }]),
    want: 1,
  },
  { files: 'a name with a quote and a space', name: "it's here.jsonl", content: jsonl([{ text: someText }]), want: 1 },
]
for (const { files, name, content, want } of readable)
  test(`${files}: read`, async () => {
    const dataDir = await freshFolder()
    const result = await prepare(configOf([{ filePath: await source(content, name) }]), contextOf(dataDir))
    assert.equal((result.counts?.train ?? 0) + (result.counts?.validation ?? 0), want)
    for (const { target } of await rowsOf(dataDir, result.location, 'train'))
      assert.doesNotMatch(target as string, /[\0\r]/)
  })

test('only human-written rows are kept, numbers compared as numbers', async () => {
  const rows = texts.slice(0, 9).map((text, i) => ({ text, generated: i % 3 === 0 ? '0.0' : i % 3 === 1 ? '1' : '' }))
  const keep = { policy: 'Matching', column: 'generated', values: ['0'] }
  const path = await source(
    csv([['text', 'generated'], ...rows.map(({ text, generated }) => [text, generated])]),
    'a.csv',
  )
  const { counts } = await prepare(configOf([{ filePath: path, keep }]), contextOf(await freshFolder()))
  assert.deepEqual([counts?.read, counts?.notHuman], [9, 6])
})

test('parquet is read, row order and limit hold', async () => {
  const path = join(await freshFolder(), 'a.parquet')
  const connection = await (await DuckDBInstance.create(':memory:')).connect()
  await connection.run(`COPY (SELECT text AS body FROM read_json('${fixture}')) TO '${path}'`)
  const dataDir = await freshFolder()
  const { location, counts } = await prepare(
    configOf([{ filePath: path, textColumn: 'body', limit: 40 }]),
    contextOf(dataDir),
  )
  assert.equal(counts?.read, 40)
  const targets = new Map((await rowsOf(dataDir, location, 'train')).map(({ id, target }) => [id, target]))
  for (const [id, target] of targets) assert.equal(target, texts[Number(id?.slice(3)) - 1])
})

test('a folder is read in the order of its names, as a ConfigMap mounts it', async () => {
  const mount = await freshFolder()
  await mkdir(join(mount, '..2026'))
  await writeFile(join(mount, '..2026', 'b.jsonl'), jsonl([{ text: texts[1] }]))
  await writeFile(join(mount, '..2026', 'a.txt'), someText)
  await symlink('..2026', join(mount, '..data'))
  for (const name of ['a.txt', 'b.jsonl']) await symlink(`..data/${name}`, join(mount, name))
  await writeFile(join(mount, 'README.md'), someText)
  const dataDir = await freshFolder()
  const split = { trainPercent: 100, seed: 1 }
  const { location } = await prepare(configOf([{ filePath: mount }], { split }), contextOf(dataDir))
  assert.deepEqual(
    (await rowsOf(dataDir, location, 'train')).map(({ target }) => target),
    [someText, texts[1]],
  )
})

test('a link out of the folder is refused', async () => {
  const mount = await freshFolder()
  await symlink(fixture, join(mount, 'secret.jsonl'))
  await assert.rejects(prepare(configOf([{ filePath: mount }]), contextOf(await freshFolder())), {
    reason: 'SourceInvalid',
    message: /secret\.jsonl is a link that leads out of/,
  })
})

test('a source that is itself a link out of its mount is refused, a file as well as a folder', async () => {
  const secrets = await freshFolder()
  await writeFile(join(secrets, 'token.txt'), someText)
  const mountPath = await freshFolder()
  await mkdir(join(mountPath, 'sub'))
  await symlink(join(secrets, 'token.txt'), join(mountPath, 'sub', 'token.txt'))
  await symlink(secrets, join(mountPath, 'folder'))
  for (const filePath of [
    join(mountPath, 'sub', 'token.txt'),
    join(mountPath, 'folder'),
    join(mountPath, 'folder', 'token.txt'),
  ])
    await assert.rejects(prepare(configOf([{ filePath, mountPath }]), contextOf(await freshFolder())), {
      reason: 'SourceInvalid',
      message: /is a link that leads out of/,
    })
  const noMount = { filePath: join(mountPath, 'sub', 'token.txt') }
  await assert.rejects(prepare(configOf([noMount]), contextOf(await freshFolder())), { reason: 'SourceInvalid' })
})

test('one key of a ConfigMap and a link that stays in its mount are read', async () => {
  const mountPath = await freshFolder()
  await mkdir(join(mountPath, '..2026'))
  await writeFile(join(mountPath, '..2026', 'a.txt'), someText)
  await symlink('..2026', join(mountPath, '..data'))
  await symlink('..data/a.txt', join(mountPath, 'a.txt'))
  await mkdir(join(mountPath, 'latest'))
  await symlink('../a.txt', join(mountPath, 'latest', 'a.txt'))
  for (const path of ['a.txt', 'latest/a.txt']) {
    const source = { filePath: join(mountPath, path), mountPath }
    assert.equal((await prepare(configOf([source]), contextOf(await freshFolder()))).counts?.read, 1)
  }
})

const parquetMagic = Buffer.concat([Buffer.from('PAR1'), Buffer.alloc(100)])
const bad = [
  { source: 'an empty file', name: 'a.csv', content: '', reason: 'SourceInvalid', message: /a\.csv is empty/ },
  { source: 'a header alone', name: 'a.csv', content: 'text\n', reason: 'SourceInvalid', message: /no rows/ },
  {
    source: 'blank lines of JSONL',
    name: 'a.jsonl',
    content: '\n\n',
    reason: 'SourceInvalid',
    message: /no column "text"|no rows/,
  },
  {
    source: 'a missing CSV column',
    name: 'a.csv',
    content: 'id,body\n1,x\n',
    reason: 'SourceInvalid',
    message: /no column "text"; it has id, body/,
  },
  {
    source: 'a missing JSONL column',
    name: 'a.jsonl',
    content: '{"body":"x"}\n',
    reason: 'SourceInvalid',
    message: /no column "text"; it has body/,
  },
  {
    source: 'a list where text is expected',
    name: 'a.jsonl',
    content: '{"text":["one","two"]}\n',
    reason: 'SourceInvalid',
    message: /a\.jsonl: column "text" is VARCHAR\[\]; expected text/,
  },
  {
    source: 'a conversation where text is expected',
    name: 'a.jsonl',
    content: '{"text":{"role":"user","content":"one"}}\n',
    reason: 'SourceInvalid',
    message: /a\.jsonl: column "text" is STRUCT\(.*; expected text/,
  },
  {
    source: 'a truncated parquet',
    name: 'a.parquet',
    content: parquetMagic,
    reason: 'SourceInvalid',
    message: /a\.parquet as Parquet: .*No magic bytes/,
  },
  {
    source: 'too many CSV fields',
    name: 'a.csv',
    content: 'id,text\n1,x\n2,a,b\n',
    reason: 'SourceInvalid',
    message: /line 3 has 3 fields; expected 2/,
  },
  {
    source: 'too few CSV fields',
    name: 'a.csv',
    content: 'id,text\n1,x\n2\n',
    reason: 'SourceInvalid',
    message: /line 3 has 1 fields; expected 2/,
  },
  {
    source: 'a quote never closed',
    name: 'a.csv',
    content: 'id,text\n1,"x\n2,y\n3,z\n',
    reason: 'SourceInvalid',
    message: /line 2 opens a quote that is never closed/,
  },
  {
    source: 'Latin-1',
    name: 'a.csv',
    content: Buffer.from('text\ncaf\xe9 au lait\n', 'latin1'),
    reason: 'SourceInvalid',
    message: /not UTF-8/,
  },
  {
    source: 'a binary file named text',
    name: 'a.txt',
    content: Buffer.from([0xff, 0xfe, 0, 0x80]),
    reason: 'SourceInvalid',
    message: /a\.txt as Text/,
  },
  {
    source: 'broken JSON',
    name: 'a.jsonl',
    content: '{"text":"x"}\n{"text":\n',
    reason: 'SourceInvalid',
    message: /a\.jsonl as JSONL: Invalid Input Error: Malformed JSON/,
  },
  {
    source: 'an array that is cut',
    name: 'a.json',
    content: '[{"text":"x"},\n{"text":',
    reason: 'SourceInvalid',
    message: /a\.json as JSONL: Invalid Input Error: Malformed JSON/,
  },
  {
    source: 'an unknown ending',
    name: 'a.docx',
    content: 'x',
    reason: 'ConfigurationInvalid',
    message: /a\.docx does not tell its format/,
  },
  {
    source: 'only short texts',
    name: 'a.jsonl',
    content: '{"text":"x"}\n{"text":"y"}\n',
    reason: 'NothingFits',
    message: /read 2, tooShort 2; 0 left/,
  },
] as const
for (const { source: what, name, content, reason, message } of bad)
  test(`${what}: ${reason}`, async () => {
    const dataDir = await freshFolder()
    await assert.rejects(prepare(configOf([{ filePath: await source(content, name) }]), contextOf(dataDir)), {
      reason,
      message,
    })
    assert.deepEqual(await readdir(join(dataDir, 'datasets')), ['.work'])
  })

test('a label that no row has: the values found are named', async () => {
  const rows = [labelled('Human', someText), labelled('ai', someText), labelled('ai', someText)]
  const keep = { policy: 'Matching', column: 'label', values: ['human'] }
  await assert.rejects(
    prepare(configOf([{ filePath: await source(jsonl(rows)), keep }]), contextOf(await freshFolder())),
    {
      reason: 'SourceInvalid',
      message: /none of its 3 rows is human-written: keep wants label in \[human\]; label has "ai", "Human"/,
    },
  )
})

const refused = [
  {
    what: 'a path that does not exist',
    source: { filePath: '/nowhere/a.csv' },
    change: {},
    reason: 'NotFound',
    message: /sources\[\]\.volume\.path: .*\/nowhere\/a\.csv does not exist; expected a file or folder/,
  },
  {
    what: 'an undeclared licence under requireDeclared',
    source: { filePath: fixture, license: '' },
    change: { licensePolicy: { requireDeclared: true, allowed: [] } },
    reason: 'SourceInvalid',
    message:
      /source s0: license is undeclared; expected a declared one: set .* or licensePolicy\.requireDeclared to false/,
  },
  {
    what: 'an undeclared licence where some are allowed',
    source: { filePath: fixture, license: '' },
    change: { licensePolicy: { requireDeclared: false, allowed: ['MIT', 'CC0-1.0'] } },
    reason: 'SourceInvalid',
    message: /license is undeclared; expected one of MIT, CC0-1\.0: set sources\[\]\.license when you have checked it$/,
  },
  {
    what: 'a licence that is not allowed',
    source: { filePath: fixture },
    change: { licensePolicy: { requireDeclared: false, allowed: ['MIT'] } },
    reason: 'SourceInvalid',
    message: /source s0: license "CC0-1.0" .*MIT/,
  },
  {
    what: 'an address with a bare %',
    source: { http: { url: 'https://example.org/100%.csv', sha256: '0'.repeat(64) } },
    change: {},
    reason: 'ConfigurationInvalid',
    message: /sources\[\]\.http\.url is "https:\/\/example\.org\/100%\.csv"/,
  },
  {
    what: 'an address that is none',
    source: { http: { url: 'example.org', sha256: '0'.repeat(64) } },
    change: {},
    reason: 'ConfigurationInvalid',
    message: /sources\[\]\.http\.url is "example\.org"/,
  },
  {
    what: 'a format nobody knows',
    source: { filePath: fixture, format: 'XML' },
    change: {},
    reason: 'ConfigurationInvalid',
    message: /format is "XML"/,
  },
  {
    what: 'a name that leaves the folder',
    source: { filePath: fixture, name: '../x' },
    change: {},
    reason: 'ConfigurationInvalid',
    message: /sources\[\]\.name is "\.\.\/x"/,
  },
  {
    what: 'a template without {text}',
    source: { filePath: fixture },
    change: { format: { sample: 'Denoise', systemPrompt: '', userTemplate: 'x' } },
    reason: 'ConfigurationInvalid',
    message: /userTemplate is "x"/,
  },
  {
    what: 'a licence card behind a dead network',
    source: { huggingFace: { repository: 'a/b', revision: '', files: [], tokenFile: '/nowhere' } },
    change: {},
    reason: 'ConfigurationInvalid',
    message: /\/nowhere/,
  },
] as const
for (const { what, source: given, change, reason, message } of refused)
  test(`${what}: ${reason}`, async () => {
    const config = configOf([given as unknown as Partial<Source>], change as Change)
    await assert.rejects(prepare(config, contextOf(await freshFolder())), { reason, message })
  })

test('SIGTERM stops a preparation between two pieces and leaves nothing that counts', async () => {
  const dataDir = await freshFolder()
  const stop = new AbortController()
  const many = await source(jsonl(Array.from({ length: 20_000 }, (_, i) => ({ text: `${someText} ${i}` }))))
  const running = prepare(configOf([{ filePath: many }]), contextOf(dataDir, stop.signal))
  setTimeout(() => stop.abort(new JobFailure('Stopped', 'SIGTERM')), 150)
  await assert.rejects(running, { reason: 'Stopped' })
  assert.deepEqual(await readdir(join(dataDir, 'datasets')), ['.work'])
})

test('a preparation that lost its lock leaves the work of the next holder alone, and stale work is swept', async () => {
  const dataDir = await freshFolder()
  const hanging = createServer(() => {}).listen(0, '127.0.0.1')
  await once(hanging, 'listening')
  const { port } = hanging.address() as AddressInfo
  const http = { url: `http://127.0.0.1:${port}/a.csv`, sha256: '0'.repeat(64) }
  const losing = prepare(configOf([{ http }]), contextOf(dataDir))
  const root = join(dataDir, 'datasets', '.work', 'dataset-1')
  const held = join(root, 'writer.lock')
  while (!(await readdir(root).catch(() => [])).some((name) => name.startsWith('attempt'))) await sleep(5)
  await writeFile(held, JSON.stringify({ podUid: 'pod-2', beat: 0 }))
  const theirs = [join(root, 'attempt', 'spool'), join(root, 'attempt-pod-2', 'spool'), join(root, 'downloads', 'file')]
  for (const path of theirs) {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, 'x')
  }
  await assert.rejects(losing, { code: 'FOLDER_LOCKED' })
  hanging.close()
  hanging.closeAllConnections()
  for (const path of theirs) assert.equal(await readFile(path, 'utf8'), 'x')
  assert.deepEqual((await readdir(root)).sort(), ['attempt', 'attempt-pod-2', 'downloads', 'writer.lock'])
  await rm(held)
  await prepare(configOf([{ filePath: fixture }]), { ...contextOf(dataDir), podUid: 'pod-3' })
  assert.deepEqual(await readdir(root), [])
})

test('a preparation killed at any moment is followed by one that gives the same bytes and sweeps what was left', async () => {
  const path = await source(
    jsonl(Array.from({ length: 4000 }, (_, i) => ({ text: edited(texts[i % 600] as string, 3 + (i % 50)) }))),
  )
  const want = await prepare(configOf([{ filePath: path }]), contextOf(await freshFolder()))
  const dataDir = await freshFolder()
  const config = join(dataDir, 'config.json')
  await writeFile(config, JSON.stringify(PrepareConfig.toJSON(configOf([{ filePath: path }]))))
  const main = fileURLToPath(new URL('../main.ts', import.meta.url))
  for (const milliseconds of [700, 1000, 1300, 1700]) {
    const args = [main, 'prepare', '--config', config, '--data', dataDir, '--termination-log', join(dataDir, 'log')]
    const child = spawn(process.execPath, args, { env: { ...process.env, POD_UID: 'pod-1' }, stdio: 'ignore' })
    const ended = new Promise((resolve) => child.on('exit', resolve))
    setTimeout(() => child.kill('SIGKILL'), milliseconds)
    await ended
  }
  assert.deepEqual(await prepare(configOf([{ filePath: path }]), contextOf(dataDir)), want)
  assert.deepEqual((await readdir(join(dataDir, 'datasets'))).sort(), ['.work', 'by-spec', want.digest.slice(7)].sort())
  assert.deepEqual(await readdir(join(dataDir, 'datasets', '.work', 'dataset-1')), [])
})
