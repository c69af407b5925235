import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { type DeepPartial, Source } from '#proto/humanizer/trainer/v1/preparation.ts'
import { type Hub, startHub } from '../../test/fixtures/hub.ts'
import { sha256 } from '../storage/digest.ts'
import { SharedContent } from '../storage/shared-content.ts'
import { openDatabase } from './database.ts'
import { humanFilter } from './human.ts'
import { type LocatedSource, locate } from './locate.ts'
import { readRows } from './read.ts'
import { type License, planSource, requireLicense } from './source.ts'

const root = await mkdtemp(join(tmpdir(), 'locate-'))
const database = await openDatabase(root, { threads: 1 })
const connection = await database.connect()
const closers: (() => void)[] = []
after(async () => {
  for (const close of closers) close()
  database.close()
  await rm(root, { recursive: true })
})

const commit = '0123456789abcdef0123456789abcdef01234567'
let folders = 0
const freshFolder = () => join(root, `f${folders++}`)

async function hubOf(repository: string, files: Record<string, string | Uint8Array>, license?: string): Promise<Hub> {
  const bytes = Object.fromEntries(Object.entries(files).map(([path, content]) => [path, Buffer.from(content)]))
  const hub = await startHub({ kind: 'dataset', repository, commit, files: bytes })
  if (license !== undefined)
    hub.trouble = (request, response) => {
      if (!request.url?.includes('/revision/')) return false
      response.end(JSON.stringify({ sha: commit, cardData: { license } }))
      return true
    }
  closers.push(() => hub.close())
  return hub
}

const sourceOf = (fields: DeepPartial<Source>) => planSource(Source.fromPartial({ name: 'here', ...fields }))
const inRepository = (repository: string, fields: DeepPartial<Source> = {}, files: string[] = []) =>
  sourceOf({ huggingFace: { repository, revision: '', files, tokenFile: '' }, ...fields })

const downloadsOf = (hubEndpoint: string, folder = freshFolder(), signal = new AbortController().signal) => ({
  folder,
  specHash: 'spec-1',
  hubEndpoint,
  signal,
  onBytes: () => {},
})
const anyLicense = (): void => {}

async function humanTexts(source: LocatedSource): Promise<(string | undefined)[]> {
  const filter = humanFilter(source.human)
  const found: (string | undefined)[] = []
  for (const file of source.texts)
    for await (const { count, value } of readRows(connection, file, [...filter.columns, source.textColumn]))
      for (let row = 0; row < count; row++)
        if (filter.judge((column) => value(row, column)) === 'human') found.push(value(row, filter.columns.length))
  return found
}

const raid = [
  'id,adv_source_id,source_id,model,decoding,repetition_penalty,attack,domain,title,prompt,generation',
  '1,1,1,human,,,none,books,t,,The human text',
  '2,1,1,human,,,homoglyph,books,t,,Тhe humаn text',
  '3,1,1,human,,,paraphrase,books,t,,A text by people',
  '4,4,1,gpt4,greedy,no,none,books,t,p,As an AI',
].join('\n')

const known = [
  {
    repository: 'liamdugan/raid',
    files: { 'train.csv': raid, 'test.csv': 'id,generation\n1,unlabelled\n' },
    license: 'MIT',
    want: ['The human text'],
  },
  {
    repository: 'silentone0725/ai-human-text-detection-v1',
    files: { 'train.csv': 'text,label\na,human\nb,ai\n' },
    license: 'CC-BY-4.0',
    want: ['a'],
  },
  {
    repository: 'dmitva/human_ai_generated_text',
    files: { 'model_training_dataset.csv': 'id,human_text,ai_text,instructions\n1,a,b,c\n' },
    license: 'CC-BY-4.0',
    want: ['a'],
  },
  {
    repository: 'NabeelShar/ai_and_human_text',
    files: { 'train_ai.csv': 'text,generated\na,0.0\nb,1.0\nc,0\n' },
    license: '',
    want: ['a', 'c'],
  },
  {
    repository: 'badhanr/wikipedia_human_written_text',
    files: { 'README.md': '# x', 'data.jsonl': '{"text":"a"}\n' },
    license: 'CC-BY-SA-4.0',
    want: ['a'],
  },
]
for (const { repository, files, license, want } of known)
  test(`of ${repository} the human rows are taken without being told its columns`, async () => {
    const hub = await hubOf(repository, files as unknown as Record<string, string>)
    const located = await locate(inRepository(repository), downloadsOf(hub.endpoint), anyLicense)
    assert.deepEqual(await humanTexts(located), want)
    assert.equal(located.license.expression, license)
    assert.equal(located.revision, commit)
    assert.ok(located.cautions.length > 0)
  })

test('a repository is known however its name is capitalised, or its machine-written rows would be kept', async () => {
  const repository = 'silentOne0725/AI-Human-Text-Detection-v1'
  const hub = await hubOf(repository, { 'train.csv': 'text,label\na,human\nb,ai\n' })
  const located = await locate(inRepository(repository), downloadsOf(hub.endpoint), anyLicense)
  assert.deepEqual(await humanTexts(located), ['a'])
})

test("a source's own fields win over what is known of its repository", async () => {
  const hub = await hubOf('liamdugan/raid', { 'train.csv': raid, 'extra.csv': raid.replaceAll('generation', 'body') })
  const keep = { policy: 'Matching', column: 'attack', values: ['paraphrase'] }
  const fields = { keep, textColumn: 'body', license: 'CC0-1.0' }
  const located = await locate(
    inRepository('liamdugan/raid', fields, ['extra*']),
    downloadsOf(hub.endpoint),
    anyLicense,
  )
  assert.deepEqual(await humanTexts(located), ['A text by people'])
  assert.deepEqual(located.license, { expression: 'CC0-1.0', evidence: 'spec' })
})

test('of an unknown repository every file of a known format is taken, in the order of the paths, unpacked', async () => {
  const files = {
    'README.md': '# x',
    'b.csv.gz': gzipSync('text\nb\n'),
    'a/z.jsonl': '{"text":"z"}\n',
    'a/c.csv': 'text\nc\n',
    LICENSE: 'x',
  }
  const hub = await hubOf('owner/prose', files)
  const located = await locate(inRepository('owner/prose'), downloadsOf(hub.endpoint), anyLicense)
  assert.deepEqual(await humanTexts(located), ['c', 'z', 'b'])
})

test('a format that is given chooses the files of its ending; it is that of all where no ending tells it', async () => {
  const files = { 'README.md': '# x', 'a.csv': 'text\na\n', 'b.jsonl': '{"text":"b"}\n', 'c.txt': 'text\nc\n' }
  const texts = async (files: Record<string, string>, format: string, chosen: string[] = []) => {
    const hub = await hubOf('owner/prose', files)
    return humanTexts(
      await locate(inRepository('owner/prose', { format }, chosen), downloadsOf(hub.endpoint), anyLicense),
    )
  }
  assert.deepEqual(await texts(files, 'CSV'), ['a'])
  assert.deepEqual(await texts(files, 'CSV', ['a*', 'c*']), ['a', 'c'])
  assert.deepEqual(await texts({ 'part-0': 'text\na\n', 'part-1': 'text\nb\n' }, 'CSV'), ['a', 'b'])
  const folder = freshFolder()
  await mkdir(folder)
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
  const inFolder = sourceOf({ filePath: folder, mountPath: folder, format: 'JSONL' })
  assert.deepEqual(await humanTexts(await locate(inFolder, downloadsOf(''), anyLicense)), ['b'])
})

test('the licence on the card counts where none was declared, and a contradiction is remarked', async () => {
  const hub = await hubOf('owner/prose', { 'a.csv': 'text\na\n' }, 'mit')
  const fromCard = await locate(inRepository('owner/prose'), downloadsOf(hub.endpoint), anyLicense)
  assert.deepEqual(fromCard.license, { expression: 'mit', evidence: 'repository card' })
  const declared = await locate(
    inRepository('owner/prose', { license: 'CC0-1.0' }),
    downloadsOf(hub.endpoint),
    anyLicense,
  )
  assert.deepEqual(declared.license, { expression: 'CC0-1.0', evidence: 'spec' })
  assert.match(declared.remarks.join(), /card says license "mit", used is "CC0-1.0"/)
})

test('a licence that is not allowed is refused before a byte is downloaded', async () => {
  const hub = await hubOf('owner/prose', { 'a.csv': 'text\na\n' }, 'cc-by-nc-4.0')
  const permit = (license: License) => requireLicense('here', license, { requireDeclared: true, allowed: ['MIT'] })
  await assert.rejects(locate(inRepository('owner/prose'), downloadsOf(hub.endpoint), permit), {
    reason: 'SourceInvalid',
    message: /license "cc-by-nc-4.0" \(from repository card\) is not allowed/,
  })
  assert.ok(!hub.requests.some((request) => request.includes('/resolve/')))
})

test('a download that was stopped goes on where it ended, also in the next process', async () => {
  const text = `text\n${'prose '.repeat(400_000)}\n`
  const hub = await hubOf('owner/prose', { 'a.csv': text })
  const half = Math.floor(text.length / 2)
  const stop = new AbortController()
  hub.trouble = (request, response) => {
    if (!request.url?.includes('/resolve/')) return false
    response.writeHead(200, { 'content-length': text.length })
    response.write(text.slice(0, half))
    return true
  }
  const folder = freshFolder()
  const first = locate(
    inRepository('owner/prose'),
    {
      ...downloadsOf(hub.endpoint, folder, stop.signal),
      onBytes: (bytes) => bytes === half && stop.abort(new Error('stopped')),
    },
    anyLicense,
  )
  await assert.rejects(first, /stopped/)
  hub.trouble = undefined
  hub.requests.length = 0
  const located = await locate(inRepository('owner/prose'), downloadsOf(hub.endpoint, folder), anyLicense)
  assert.equal(await readFile(located.texts[0]?.path as string, 'utf8'), text)
  assert.ok(
    hub.requests.some((request) => request.endsWith(` bytes=${half}-`)),
    hub.requests.join('\n'),
  )
})

test('what one dataset downloaded another one need not, from wherever: it is known by its content', async () => {
  const text = 'text\na\n'
  const files = { 'a.csv': text, 'b.parquet': 'of whatever bytes' }
  const shared = new SharedContent(join(freshFolder(), 'shared'))
  const locateIn = async (repository: string, named: string) => {
    const hub = await hubOf(repository, { [named]: text, 'b.parquet': files['b.parquet'] })
    const located = await locate(inRepository(repository), { ...downloadsOf(hub.endpoint), shared }, anyLicense)
    const requests = hub.requests.filter((request) => request.includes('/resolve/')).length
    return { requests, texts: await Promise.all(located.texts.map(({ path }) => readFile(path, 'utf8'))) }
  }
  assert.deepEqual(await locateIn('owner/prose', 'a.csv'), { requests: 2, texts: Object.values(files) })
  assert.deepEqual(await locateIn('other/prose', 'a2.csv'), { requests: 0, texts: Object.values(files) })
  const http = { url: 'http://127.0.0.1:9/b.parquet', sha256: sha256(files['b.parquet']) }
  const { texts } = await locate(sourceOf({ http }), { ...downloadsOf(''), shared }, anyLicense)
  assert.equal(await readFile(texts[0]?.path as string, 'utf8'), files['b.parquet'])
})

test('a repository without a file that could be read names what it has', async () => {
  const hub = await hubOf('owner/prose', { 'README.md': '#', 'a.zip': 'x' })
  await assert.rejects(locate(inRepository('owner/prose'), downloadsOf(hub.endpoint), anyLicense), {
    reason: 'NotFound',
    message: /^source here: sources\[\]\.huggingFace: owner\/prose@.*README\.md, a\.zip/,
  })
})

test('a closed repository names the source and what would open it', async () => {
  const hub = await hubOf('owner/prose', { 'a.csv': 'text\na\n' })
  for (const step of ['/revision/', '/resolve/']) {
    hub.trouble = (request, response) =>
      request.url!.includes(step) && Boolean(response.writeHead(403, { 'x-error-message': 'restricted' }).end())
    await assert.rejects(locate(inRepository('owner/prose'), downloadsOf(hub.endpoint), anyLicense), {
      reason: 'AccessDenied',
      message:
        /^source here: sources\[\]\.huggingFace: .*403: restricted; expected that owner\/prose .* tokenSecretRef/,
    })
  }
})

test('a file behind an address is checked against its sum and named by it', async () => {
  const text = 'text\na\n'
  const server = createServer((_, response) => response.end(text)).listen(0, '127.0.0.1')
  closers.push(() => server.close())
  await new Promise((listening) => server.once('listening', listening))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a%20b/texts.csv?x=/y.zip`
  const folder = freshFolder()
  const located = await locate(sourceOf({ http: { url, sha256: sha256(text) } }), downloadsOf('', folder), anyLicense)
  assert.deepEqual(await humanTexts(located), ['a'])
  assert.equal(located.revision, `sha256:${sha256(text)}`)
  await assert.rejects(
    locate(sourceOf({ name: 'other', http: { url, sha256: '0'.repeat(64) } }), downloadsOf('', folder), anyLicense),
    { reason: 'SourceInvalid', message: /^source other: sources\[\]\.http: .*expected 0000/ },
  )
  assert.deepEqual(await readdir(join(folder, 'here')), [sha256(url).slice(0, 16)])
})

test('a packed file that is cut off is SourceInvalid', async () => {
  const path = join(root, 'cut.csv.gz')
  await writeFile(path, gzipSync(`text\n${'a b c\n'.repeat(5000)}`).subarray(0, 60))
  await assert.rejects(humanTexts(await locate(sourceOf({ filePath: path }), downloadsOf(''), anyLicense)), {
    reason: 'SourceInvalid',
    message: /cut\.csv\.gz as CSV: it can not be unpacked/,
  })
})

test('a branch that moves between two attempts at one spec does not change what is read; another spec sees the new commit', async () => {
  const first = await hubOf('owner/prose', { 'a.csv': 'text\nfirst\n' })
  const folder = freshFolder()
  await locate(inRepository('owner/prose'), downloadsOf(first.endpoint, folder), anyLicense)
  first.trouble = (request, response) => {
    if (!request.url?.includes('/revision/main')) return false
    response.end(JSON.stringify({ sha: 'f'.repeat(40) }))
    return true
  }
  const again = await locate(inRepository('owner/prose'), downloadsOf(first.endpoint, folder), anyLicense)
  assert.equal(again.revision, commit)
  const other = { ...downloadsOf(first.endpoint, folder), specHash: 'spec-2' }
  await assert.rejects(locate(inRepository('owner/prose'), other, anyLicense), { reason: 'NotFound', message: /ffff/ })
})
