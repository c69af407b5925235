import assert from 'node:assert/strict'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { DuckDBInstance } from '@duckdb/node-api'
import { freshFolders } from '../../test/fixtures/fresh-folders.ts'
import { jsonl, prose, proseFile } from '../../test/fixtures/sources.ts'
import { prepare } from './prepare.ts'
import { configOf, contextOf, parquetOf, rowsOf } from './preparing.ts'

const freshFolder = await freshFolders('read-')

async function source(content: string | Buffer, name = 'source.jsonl'): Promise<string> {
  const path = join(await freshFolder(), name)
  await writeFile(path, content)
  return path
}

const someText = prose[0] as string

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
    content: `${someText.replaceAll(', ', ',\r\n')}\r\n \r\n\r\n${prose[1]}`,
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
    content: `\n ${JSON.stringify([{ text: someText }, { other: 1 }, { text: prose[1] }], null, 2)}`,
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
  const rows = prose.slice(0, 9).map((text, i) => ({ text, generated: i % 3 === 0 ? '0.0' : i % 3 === 1 ? '1' : '' }))
  const keep = { policy: 'Matching', column: 'generated', values: ['0'] }
  const path = await source(
    csv([['text', 'generated'], ...rows.map(({ text, generated }) => [text, generated])]),
    'a.csv',
  )
  const { counts } = await prepare(configOf([{ filePath: path, keep }]), contextOf(await freshFolder()))
  assert.deepEqual([counts?.read, counts?.notHuman], [9, 6])
})

test('one column may be the label and the group, in every format', async () => {
  const rows = prose.slice(0, 6).map((text, i) => ({ text, label: i < 4 ? 'human' : 'ai' }))
  const parquet = join(await freshFolder(), 'a.parquet')
  await parquetOf(parquet, rows)
  const paths = [
    parquet,
    await source(jsonl(rows)),
    await source(csv([['text', 'label'], ...rows.map(({ text, label }) => [text, label])]), 'a.csv'),
  ]
  const keep = { policy: 'Matching', column: 'label', values: ['human'] }
  for (const filePath of paths) {
    const dataDir = await freshFolder()
    const config = configOf([{ filePath, keep, groupColumn: 'label' }])
    const { location } = await prepare(config, contextOf(dataDir))
    const clusters = (await rowsOf(dataDir, location, 'train')).map(({ cluster }) => cluster)
    assert.deepEqual(clusters, ['s0-1', 's0-1', 's0-1', 's0-1'], filePath)
  }
})

test('parquet is read, row order and limit hold', async () => {
  const path = join(await freshFolder(), 'a.parquet')
  const connection = await (await DuckDBInstance.create(':memory:')).connect()
  await connection.run(`COPY (SELECT text AS body FROM read_json('${proseFile}')) TO '${path}'`)
  const dataDir = await freshFolder()
  const { location, counts } = await prepare(
    configOf([{ filePath: path, textColumn: 'body', limit: 40 }]),
    contextOf(dataDir),
  )
  assert.equal(counts?.read, 40)
  const targets = new Map((await rowsOf(dataDir, location, 'train')).map(({ id, target }) => [id, target]))
  for (const [id, target] of targets) assert.equal(target, prose[Number(id?.slice(3)) - 1])
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
    message: /a\.jsonl as JSONL: Invalid Input Error: Malformed JSON .* in line 2: /,
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
