/** Adapters written to a real S3 server (Versity's gateway), which holds every request's signature and every body against its sha256. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { after, afterEach, before, test } from 'node:test'
import { type Artifact, fileArtifact, folderArtifact } from '../../trainer-image/push/artifact.ts'
import type { S3Credentials } from '../../trainer-image/push/s3-client.ts'
import { pushToS3, type S3Pushed, type S3Target } from '../../trainer-image/push/s3-push.ts'
import { hexOf } from '../../trainer-image/storage/digest.ts'
import { sealAdapter, tinyLlama } from '../fixtures/adapter.ts'
import { type S3Server, s3Bucket, s3Keys, startS3 } from '../fixtures/s3.ts'

const root = mkdtempSync(join(tmpdir(), 'humanizer-s3-'))
/** What S3 itself demands of every part but the last. */
const partBytes = 5 << 20
let s3: S3Server
let adapter: Artifact
let proxy: Server | undefined

before(async () => {
  const folder = join(root, 'adapter')
  mkdirSync(folder)
  await sealAdapter(tinyLlama, folder, { rank: 4, alpha: 8, targetModules: ['q_proj'] })
  adapter = await folderArtifact(folder)
  s3 = await startS3(root)
})
afterEach(() => {
  proxy?.closeAllConnections()
  proxy?.close()
})
after(() => {
  s3?.stop()
  rmSync(root, { recursive: true })
})

/** Between client and server: notes what is asked, and may change or cut what is sent. */
async function between(
  asked: string[],
  meddle: (message: IncomingMessage) => Transform | 'cut' | undefined = () => undefined,
): Promise<string> {
  const { hostname, port } = new URL(s3.endpoint)
  proxy = createServer((incoming, response) => {
    asked.push(`${incoming.method} ${incoming.url}`)
    const meddling = meddle(incoming)
    if (meddling === 'cut') return void incoming.socket.destroy()
    const { method, url, headers } = incoming
    const outgoing = request({ hostname, port, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(response)
    })
    outgoing.on('error', () => response.destroy())
    if (meddling) incoming.pipe(meddling).pipe(outgoing)
    else incoming.pipe(outgoing)
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
}

const push = (
  artifact: Artifact,
  changes: Partial<S3Target> = {},
  credentials: Partial<S3Credentials> = {},
): Promise<S3Pushed> =>
  pushToS3(
    artifact,
    { endpoint: s3.endpoint, region: 'us-east-1', bucket: s3Bucket, prefix: 'team/writer', ...changes },
    { ...s3Keys, ...credentials },
    { partBytes },
  )

/** One file of a little more than two parts, other for every seed. */
async function large(seed: string): Promise<{ artifact: Artifact; bytes: Buffer }> {
  const block = createHash('sha512').update(seed).digest()
  const bytes = Buffer.alloc(2 * partBytes + 12_345, block)
  for (let at = 0; at < bytes.length; at += partBytes) bytes.writeUInt32LE(at, at)
  const pieces = function* () {
    for (let at = 0; at < bytes.length; at += 700_000) yield bytes.subarray(at, at + 700_000)
  }
  return { artifact: await fileArtifact('model.gguf', pieces, { base: 'b', adapter: 'a' }), bytes }
}
const puts = (asked: readonly string[]): string[] =>
  asked.filter((each) => /^(PUT|POST)/.test(each)).map((each) => each.replace(/uploadId=[^&]*/, 'uploadId'))

test('a folder is its files below its digest, manifest.json last; pushed again nothing is sent', async () => {
  const asked: string[] = []
  const endpoint = await between(asked)
  const first = await push(adapter, { endpoint })
  const folder = `team/writer/adapters/${hexOf(adapter.manifest.digest)}`
  assert.deepEqual(first, { reference: `s3://${s3Bucket}/${folder}`, present: 0, files: adapter.files.size })
  for (const [name, { sha256 }] of adapter.files)
    assert.equal(
      createHash('sha256')
        .update(readFileSync(join(s3.folder, folder, name)))
        .digest('hex'),
      sha256,
      name,
    )
  assert.match(puts(asked).at(-1) ?? '', /\/manifest\.json$/)
  asked.length = 0
  assert.deepEqual(await push(adapter, { endpoint }), { ...first, present: first.files })
  assert.deepEqual(puts(asked), [])
})

test('without a prefix it lies at the root of the bucket; what is there by that name and is something else is written over', async () => {
  const [name] = adapter.files.keys()
  const path = join(s3.folder, 'adapters', hexOf(adapter.manifest.digest))
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, name!), 'somebody else’s')
  const { present, reference } = await push(adapter, { prefix: '' })
  assert.deepEqual([present, reference.split('/')[3]], [0, 'adapters'])
  const found = createHash('sha256')
    .update(readFileSync(join(path, name!)))
    .digest('hex')
  assert.equal(found, adapter.files.get(name!)?.sha256)
})

test('a large file goes in parts, and one that was cut off goes on after the last whole part', async () => {
  const { artifact, bytes } = await large('cut off')
  const asked: string[] = []
  let isCut = true
  const endpoint = await between(asked, ({ url }) => (isCut && url?.includes('partNumber=2') ? 'cut' : undefined))
  await assert.rejects(push(artifact, { endpoint }), { reason: 'Unavailable', message: /partNumber=2/ })
  const file = join(s3.folder, 'team/writer/gguf', hexOf(artifact.manifest.digest), 'model.gguf')
  assert.ok(!existsSync(file), 'half a file is no file')
  isCut = false
  asked.length = 0
  await push(artifact, { endpoint })
  assert.ok(readFileSync(file).equals(bytes))
  const base = `/${s3Bucket}/team/writer/gguf/${hexOf(artifact.manifest.digest)}`
  assert.deepEqual(puts(asked), [
    `PUT ${base}/model.gguf?partNumber=2&uploadId`,
    `PUT ${base}/model.gguf?partNumber=3&uploadId`,
    `POST ${base}/model.gguf?uploadId`,
    `PUT ${base}/manifest.json`,
  ])
})

test('bytes that change on the way are refused by the server, and nothing is there', async () => {
  const flip = () =>
    new Transform({ transform: (chunk: Buffer, _, done) => done(null, Buffer.from(chunk.map((byte) => byte ^ 1))) })
  const { artifact } = await large('changed')
  for (const [each, part] of [
    [adapter, 'adapter_model'],
    [artifact, 'partNumber=1'],
  ] as const) {
    const endpoint = await between([], ({ method, url }) =>
      method === 'PUT' && url?.includes(part) ? flip() : undefined,
    )
    await assert.rejects(push(each, { endpoint, prefix: `changed-${part}` }), {
      reason: 'ConfigurationInvalid',
      message: /XAmzContentSHA256Mismatch/,
    })
    assert.ok(!existsSync(join(s3.folder, `changed-${part}`, 'adapters')) || part === 'adapter_model')
    proxy?.close()
  }
  const folder = join(s3.folder, 'changed-adapter_model', 'adapters', hexOf(adapter.manifest.digest))
  assert.deepEqual(
    ['adapter_model.safetensors', 'manifest.json'].filter((name) => existsSync(join(folder, name))),
    [],
  )
})

test('a file that is read differently than it was summed is not completed', async () => {
  const { artifact } = await large('read twice')
  const [name] = artifact.files.keys()
  const content = artifact.files.get(name!)!
  const other: Artifact = {
    ...artifact,
    files: new Map(artifact.files).set(name!, { ...content, sha256: '0'.repeat(64) }),
  }
  await assert.rejects(push(other), { reason: 'SourceInvalid', message: /expected 0{64}: it changed meanwhile/ })
  assert.ok(!existsSync(join(s3.folder, 'team/writer/gguf', hexOf(artifact.manifest.digest), name!)))
})

const refusals = [
  {
    what: 'a key that is not right',
    refused: () => push(adapter, { prefix: 'x' }, { secretAccessKey: 'wrong' }),
    reason: 'AccessDenied',
    says: /the server answered 403 SignatureDoesNotMatch/,
  },
  {
    what: 'a bucket that is not there',
    refused: () => push(adapter, { bucket: 'nowhere' }),
    reason: 'NotFound',
    says: /NoSuchBucket/,
  },
  {
    what: 'another region',
    refused: () => push(adapter, { prefix: 'y', region: 'eu-west-1' }),
    reason: 'ConfigurationInvalid',
    says: /AuthorizationHeaderMalformed.*us-east-1/,
  },
  {
    what: 'a server that is away',
    refused: () => push(adapter, { endpoint: 'http://127.0.0.1:1' }),
    reason: 'Unavailable',
    says: /ECONNREFUSED|bad port/,
  },
]
for (const { what, refused, reason, says } of refusals)
  test(`${what} is told as ${reason}`, async () => {
    await assert.rejects(refused(), { reason, message: says })
  })
