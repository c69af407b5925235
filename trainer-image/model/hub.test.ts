import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, test } from 'node:test'
import { startHub } from '../../test/fixtures/hub.ts'
import { downloadHubFiles, type HubFile, listHubFiles, matching } from './hub.ts'

const commit = '0123456789abcdef0123456789abcdef01234567'
const files = {
  'README.md': Buffer.from('# Data\n'),
  'data/train-0.parquet': Buffer.alloc(50_000, 'a'),
  'data/train-1.parquet': Buffer.alloc(60_000, 'b'),
  'data/with space & ü.csv': Buffer.from('a,b\n'),
}
const root = mkdtempSync(join(tmpdir(), 'hub-'))
const hub = await startHub({
  kind: 'dataset',
  repository: 'owner/prose',
  commit,
  files,
  token: 'hf_secret',
  pageSize: 2,
})
after(() => {
  hub.close()
  rmSync(root, { recursive: true })
})
/** Sends a part of an answer and, once the client has it on disk, breaks the connection. */
function breakOff(response: ServerResponse, part: Buffer, file: string): void {
  response.write(part)
  const timer = setInterval(() => {
    if (statSync(file, { throwIfNoEntry: false })?.size !== part.byteLength) return
    clearInterval(timer)
    response.destroy()
  }, 10)
}
const tokenFile = join(root, 'token')
let folders = 0
beforeEach(() => {
  hub.requests.length = 0
  hub.trouble = undefined
  writeFileSync(tokenFile, 'hf_secret\n')
})

const source = (change: Partial<Parameters<typeof listHubFiles>[0]> = {}) => ({
  kind: 'dataset' as const,
  repository: 'owner/prose',
  revision: '',
  endpoint: `${hub.endpoint}/`,
  tokenFile,
  signal: new AbortController().signal,
  retry: { attempts: 2, baseMilliseconds: 1, idleMilliseconds: 500 },
  ...change,
})
const download = (
  select: (files: readonly HubFile[]) => readonly HubFile[],
  directory = join(root, String(folders++)),
) => downloadHubFiles({ ...source(), directory, select })

test('a revision becomes a commit and all pages of the list are read from the same host', async () => {
  const listing = await listHubFiles(source())
  assert.equal(listing.commit, commit)
  assert.deepEqual(
    listing.files.map(({ path }) => path),
    Object.keys(files),
  )
  assert.equal(hub.requests.length, 3)
})

test('selected files are downloaded with their folders and sums', async () => {
  const { files: done } = await download(matching(['*.parquet', '*.csv']))
  assert.deepEqual(
    done.map(({ path }) => path),
    ['data/train-0.parquet', 'data/train-1.parquet', 'data/with space & ü.csv'],
  )
  for (const { path, file, bytes } of done) {
    assert.deepEqual(readFileSync(file), files[path as keyof typeof files])
    assert.equal(bytes, files[path as keyof typeof files].byteLength)
  }
})

test('a second call fetches nothing again', async () => {
  const directory = join(root, 'twice')
  await download(matching(['*']), directory)
  hub.requests.length = 0
  await download(matching(['*']), directory)
  assert.equal(hub.requests.filter((request) => request.includes('/resolve/')).length, 0)
})

test('a download that broke off goes on where it was', async () => {
  const directory = join(root, 'resumed')
  hub.trouble = (request, response) => {
    if (!request.url?.includes('train-1') || request.headers.range) return false
    response.writeHead(200, { 'content-length': 60_000 })
    breakOff(response, Buffer.alloc(20_000, 'b'), join(directory, 'data/train-1.parquet.part'))
    return true
  }
  await download(matching(['data/train-1*']), directory)
  assert.ok(hub.requests.some((request) => request.endsWith('train-1.parquet bytes=20000-')))
  assert.deepEqual(readFileSync(join(directory, 'data/train-1.parquet')), files['data/train-1.parquet'])
})

test('bytes that differ from the sum of the repository are refused, large file or small', async () => {
  for (const name of ['data/train-0.parquet', 'README.md']) {
    hub.trouble = (request, response) => request.url!.includes('/resolve/') && Boolean(response.end('tampered'))
    await assert.rejects(
      download((all) => all.filter(({ path }) => path === name), join(root, 'bad')),
      {
        reason: 'SourceInvalid',
        message: /expected/,
      },
    )
    assert.equal(existsSync(join(root, 'bad', name)), false)
  }
})

test('a wrong token is AccessDenied, and the right one works as soon as the Secret has it', async () => {
  writeFileSync(tokenFile, 'old')
  await assert.rejects(listHubFiles(source()), {
    reason: 'AccessDenied',
    message:
      /answered 401: Invalid username or password\.; expected that the account of tokenSecretRef's token may read owner\/prose/,
  })
  writeFileSync(tokenFile, 'hf_secret')
  assert.equal((await listHubFiles(source())).commit, commit)
})

const failures = [
  {
    a_source: 'with a revision that is not there',
    change: { revision: 'v9' },
    reason: 'NotFound',
    says: /revision\/v9 answered 404: Invalid rev id/,
  },
  {
    a_source: 'with a repository that is not there',
    change: { repository: 'owner/none' },
    reason: 'NotFound',
    says: /owner\/none/,
  },
  {
    a_source: 'with a name that is no repository',
    change: { repository: '../api' },
    reason: 'ConfigurationInvalid',
    says: /expected "owner\/name"/,
  },
  {
    a_source: 'whose token file is not there',
    change: { tokenFile: '/nowhere/token' },
    reason: 'ConfigurationInvalid',
    says: /token file \/nowhere\/token cannot be read/,
  },
]
for (const { a_source, change, reason, says } of failures)
  test(`a source ${a_source} is ${reason}`, async () => {
    await assert.rejects(listHubFiles(source(change)), { reason, message: says })
  })

const answers = [
  { the_hub: 'limits the rate', status: 429, headers: { 'retry-after': '0' }, passes: true },
  { the_hub: 'has trouble of its own', status: 500, headers: {}, passes: true },
  { the_hub: 'is overloaded', status: 503, headers: {}, passes: true },
  { the_hub: 'drops the connection', status: 0, headers: {}, passes: true },
  { the_hub: 'wants other rights', status: 403, headers: {}, passes: false },
  { the_hub: 'knows no such token', status: 401, headers: {}, passes: false },
] as const
for (const { the_hub, status, headers, passes } of answers)
  for (const step of ['/revision/', '/tree/', '/resolve/'])
    test(`a hub that ${the_hub} at ${step} once ${passes ? 'is asked again' : 'is believed'}`, async () => {
      let left = 1
      hub.trouble = (request, response) => {
        if (!request.url?.includes(step) || left-- <= 0) return false
        if (status === 0) request.socket.destroy()
        else response.writeHead(status, headers).end()
        return true
      }
      const done = download(matching(['data/train-0*']))
      if (passes) assert.equal((await done).files[0]?.bytes, 50_000)
      else await assert.rejects(done, { reason: 'AccessDenied', message: new RegExp(`answered ${status}`) })
    })

test('a large file that lies on another host is fetched there, without the token, and resumed there', async () => {
  const other = await startHub({
    ...{ kind: 'dataset', repository: 'owner/prose', commit, files, token: 'hf_secret' },
    redirects: true,
  })
  const directory = join(root, 'elsewhere')
  let dropped = false
  other.trouble = (request, response) => {
    if (dropped || !request.headers.host?.startsWith('localhost')) return false
    dropped = true
    response.writeHead(200, { 'content-length': 50_000 })
    breakOff(response, Buffer.alloc(20_000, 'a'), join(directory, 'data/train-0.parquet.part'))
    return true
  }
  const select = matching(['data/train-0*'])
  await downloadHubFiles({ ...source({ endpoint: other.endpoint }), directory, select }).finally(() => other.close())
  assert.deepEqual(readFileSync(join(directory, 'data/train-0.parquet')), files['data/train-0.parquet'])
  const asked = other.requests.filter((request) => request.includes('X-Signature'))
  assert.deepEqual(
    asked.map((request) => request.split(' ')[2]),
    [undefined, 'bytes=20000-'],
  )
})

const cards = [
  { license: 'mit', is: 'mit' },
  { license: ['mit', 'cc-by-4.0'], is: 'mit AND cc-by-4.0' },
  { license: 'other', is: '' },
  { license: 'unknown', is: '' },
  { license: ['unknown'], is: '' },
  { license: ['mit', 'Other'], is: '' },
  { license: [], is: '' },
  { license: { name: 'mit' }, is: '' },
]
for (const { license, is } of cards)
  test(`a card with license ${JSON.stringify(license)} declares ${is || 'none'}`, async () => {
    hub.trouble = (request, response) =>
      request.url!.includes('/revision/') &&
      Boolean(response.end(JSON.stringify({ sha: commit, cardData: { license } })))
    assert.equal((await listHubFiles(source())).license, is)
  })

test('a hub that is silent, before its answer or within it, is given up and asked again', async () => {
  for (const step of ['/revision/', '/tree/'])
    for (const begins of [false, true]) {
      let left = 1
      hub.trouble = (request, response) => {
        if (!request.url?.includes(step) || left-- <= 0) return false
        if (begins) response.write('{"sha"')
        return true
      }
      const retry = { attempts: 6, baseMilliseconds: 1, idleMilliseconds: 150 }
      assert.equal((await listHubFiles(source({ retry }))).commit, commit)
    }
  hub.trouble = () => true
  await assert.rejects(listHubFiles(source({ retry: { attempts: 1, idleMilliseconds: 50 } })), {
    reason: 'Unavailable',
    message: /\/revision\/main: .*time.*\(1 tries\)/,
  })
})

test('a hub that is down is Unavailable', async () => {
  hub.trouble = (_, response) => Boolean(response.writeHead(502).end())
  await assert.rejects(listHubFiles(source()), { reason: 'Unavailable', message: /answered 502 \(2 tries\)/ })
})

test('nothing selected is NotFound and names what is there', async () => {
  await assert.rejects(download(matching(['*.jsonl'])), {
    reason: 'NotFound',
    message: /has none of the files wanted; it has README\.md, data/,
  })
})

test('a list with a path that leaves the folder is refused', async () => {
  for (const path of ['../evil', '/etc/evil', 'a//b', 'a/./b', 'a\\b']) {
    hub.trouble = (request, response) =>
      request.url!.includes('/tree/') &&
      Boolean(response.end(JSON.stringify([{ type: 'file', path, size: 1, oid: 'x' }])))
    await assert.rejects(listHubFiles(source()), { reason: 'SourceInvalid', message: /leaves the folder/ })
  }
})
