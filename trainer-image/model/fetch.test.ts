import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, beforeEach, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { FetchConfig } from '#proto/humanizer/trainer/v1/model.ts'
import { encodeGguf, tinyLlamaGguf } from '../../test/fixtures/gguf.ts'
import { type Hub, startHub } from '../../test/fixtures/hub.ts'
import type { JobContext } from '../job/context.ts'
import { digestOf } from '../storage/digest.ts'
import { verifySealed } from '../storage/sealed.ts'
import { fetchModel } from './fetch.ts'
import { openModel } from './open.ts'

const fixture = fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url))
const commit = 'fedcba9876543210fedcba9876543210fedcba98'
const names = ['config.json', 'generation_config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']
const model = Object.fromEntries(names.map((name) => [name, readFileSync(join(fixture, name))]))
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const digest = digestOf(Object.fromEntries(names.map((name) => [name, sha256(model[name]!)])))

const root = mkdtempSync(join(tmpdir(), 'fetch-'))
const hub = await startHub({
  repository: 'owner/tiny',
  commit,
  files: { ...model, 'README.md': Buffer.from('read me'), 'original/consolidated.safetensors': Buffer.alloc(9) },
})
const hubs: Hub[] = [hub]
after(() => {
  for (const each of hubs) each.close()
  rmSync(root, { recursive: true })
})
let claims = 0
let dataDir = ''
beforeEach(() => {
  dataDir = join(root, String(claims++))
  mkdirSync(dataDir)
  hub.requests.length = 0
  hub.trouble = undefined
})

const context = (change: Partial<JobContext>) => ({
  dataDir,
  signal: new AbortController().signal,
  log: pino({ level: 'silent' }),
  podUid: 'pod-a',
  podName: 'pod-a',
  stateDir: root,
  desiredFile: join(root, 'desired.json'),
  lockTimes: { beatEvery: 50, deadAfter: 400 },
  terminationLog: join(root, 'termination-log'),
  hubEndpoint: hub.endpoint,
  ...change,
})
const fetchFrom = (source: object, change: Partial<JobContext> = {}) =>
  fetchModel(FetchConfig.fromJSON({ owner: { uid: 'u' }, model: source }), context(change))
const fromHub = (location: object = {}, change: Partial<JobContext> = {}) =>
  fetchFrom({ huggingFace: { repository: 'owner/tiny', ...location } }, change)

test('a repository becomes one sealed folder that opens', async () => {
  const result = await fromHub()
  const path = `models/owner--tiny@${commit}`
  const bytes = names.reduce((sum, name) => sum + model[name]!.byteLength, 0)
  assert.deepEqual(result, { model: { path, digest, revision: commit, name: 'owner/tiny' }, bytes })
  assert.equal((await verifySealed(join(dataDir, path))).digest, digest)
  assert.equal((await openModel(join(dataDir, path))).architecture.layers, 2)
  assert.deepEqual(readdirSync(join(dataDir, path)).sort(), [...names, 'manifest.json'].sort())
  assert.deepEqual(readdirSync(join(dataDir, 'models')), [`owner--tiny@${commit}`])
})

test('a model that is there is answered at once, and with a commit given without the network', async () => {
  const first = await fromHub()
  hub.requests.length = 0
  assert.deepEqual(await fromHub({ revision: commit }), first)
  assert.equal(hub.requests.length, 0)
  assert.deepEqual(await fromHub(), first)
  assert.equal(
    hub.requests.some((request) => request.includes('/resolve/')),
    false,
  )
})

test('a base without a chat template is fetched only for a run that brings one', async () => {
  const folder = join(dataDir, 'own')
  mkdirSync(folder)
  for (const name of names) writeFileSync(join(folder, name), model[name]!)
  const { chat_template: _, ...rest } = JSON.parse(model['tokenizer_config.json']!.toString())
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(rest))
  const fetchOwn = (chatTemplate?: string) =>
    fetchModel(FetchConfig.fromPartial({ model: { volumePath: 'own' }, chatTemplate }), context({}))
  await assert.rejects(fetchOwn(), { reason: 'SourceInvalid', message: /spec\.format\.chatTemplate/ })
  assert.equal((await fetchOwn('given')).model?.path, 'own')
})

function flipLastBit(path: string): void {
  const bytes = readFileSync(path)
  bytes[bytes.length - 1]! ^= 1
  writeFileSync(path, bytes)
}

test('a sealed model that lost or changed bytes since is fetched again', async () => {
  const first = await fromHub()
  const folder = join(dataDir, first.model!.path)
  for (const damage of [
    () => truncateSync(join(folder, 'model.safetensors'), 1000),
    () => flipLastBit(join(folder, 'model.safetensors')),
    () => rmSync(join(folder, 'tokenizer.json')),
    () => writeFileSync(join(folder, 'manifest.json'), '{"version":'),
  ]) {
    damage()
    assert.deepEqual(await fromHub(), first)
    await verifySealed(folder)
  }
})

test('a fetch that was stopped goes on with the bytes it has', async () => {
  const stop = new AbortController()
  hub.trouble = (request, response) => {
    if (!request.url?.endsWith('model.safetensors')) return false
    response.writeHead(200, { 'content-length': model['model.safetensors']!.byteLength })
    response.write(model['model.safetensors']!.subarray(0, 100_000), () =>
      setTimeout(() => stop.abort(new Error('SIGTERM')), 50),
    )
    return true
  }
  await assert.rejects(fromHub({}, { signal: stop.signal }))
  assert.equal(existsSync(join(dataDir, `models/owner--tiny@${commit}`)), false)
  hub.trouble = undefined
  hub.requests.length = 0
  assert.equal((await fromHub()).model?.digest, digest)
  assert.ok(hub.requests.some((request) => request.endsWith('model.safetensors bytes=100000-')))
})

test('two pods that want one model: one brings it, the other waits for it', async () => {
  const [a, b] = await Promise.all([fromHub({}, { podUid: 'pod-a' }), fromHub({}, { podUid: 'pod-b' })])
  assert.deepEqual(a, b)
  assert.equal(hub.requests.filter((request) => request.endsWith('/model.safetensors')).length, 1)
  assert.deepEqual(readdirSync(join(dataDir, 'models')), [`owner--tiny@${commit}`])
})

test('an unsupported architecture is refused before its weights are downloaded', async () => {
  const config = Buffer.from(
    JSON.stringify({ ...JSON.parse(model['config.json']!.toString()), architectures: ['MambaForCausalLM'] }),
  )
  const other = await startHub({ repository: 'owner/tiny', commit, files: { ...model, 'config.json': config } })
  hubs.push(other)
  await assert.rejects(fromHub({}, { hubEndpoint: other.endpoint }), {
    reason: 'SourceInvalid',
    message: /MambaForCausalLM is not supported; supported are LlamaForCausalLM/,
  })
  assert.equal(
    other.requests.some((request) => request.endsWith('safetensors')),
    false,
  )
  assert.deepEqual(readdirSync(join(dataDir, 'models')), [])
})

test('a repository without a model is refused with what it has', async () => {
  const files = { 'a.Q4_0.gguf': Buffer.from('x'), 'b.Q8_0.gguf': Buffer.from('y') }
  const other = await startHub({ repository: 'owner/tiny', commit, files })
  hubs.push(other)
  await assert.rejects(fromHub({}, { hubEndpoint: other.endpoint }), {
    reason: 'SourceInvalid',
    message: /2 \.gguf files \(a\.Q4_0\.gguf, b\.Q8_0\.gguf\)/,
  })
})

const served = async (bytes: Uint8Array, name: string) => {
  const server = await startHub({ repository: 'owner/files', commit, files: { [name]: bytes } })
  hubs.push(server)
  return { url: `${server.endpoint}/owner/files/resolve/${commit}/${name}`, sha256: sha256(bytes), server }
}
const gguf = tinyLlamaGguf(fixture)
const ggufBytes = encodeGguf(gguf.metadata, gguf.tensors)

test('a GGUF file behind a URL becomes a sealed folder named by its sum', async () => {
  const { server, ...http } = await served(ggufBytes, 'tiny.gguf')
  const result = await fetchFrom({ http })
  assert.deepEqual(result.model, {
    path: `models/http-${http.sha256}`,
    digest: digestOf({ 'tiny.gguf': http.sha256 }),
    revision: '',
    name: 'tiny.gguf',
  })
  assert.equal((await openModel(join(dataDir, result.model!.path))).tensors.length, 20)
  server.requests.length = 0
  assert.deepEqual(await fetchFrom({ http }), result)
  assert.equal(server.requests.length, 0)
})

test('a .tar of a model folder behind a URL is unpacked without the folder around it', async () => {
  const archive = execFileSync('tar', [
    '-cf',
    '-',
    '-C',
    join(fixture, '..'),
    ...names.map((name) => `tiny-llama/${name}`),
  ])
  const { server: _, ...http } = await served(archive, 'tiny.tar')
  assert.equal((await fetchFrom({ http })).model?.digest, digest)
})

test('a .tar that is cut off is refused and leaves nothing', async () => {
  const archive = execFileSync('tar', ['-cf', '-', '-C', fixture, 'model.safetensors']).subarray(0, 4000)
  const { server: _, ...http } = await served(archive, 'tiny.tar')
  await assert.rejects(fetchFrom({ http }), { reason: 'SourceInvalid', message: /it is truncated/ })
  assert.deepEqual(readdirSync(join(dataDir, 'models')), [])
})

test('a .tar with a link or a path that leaves the folder is refused', async () => {
  const folder = join(root, 'links')
  mkdirSync(folder)
  execFileSync('ln', ['-s', '/etc/passwd', join(folder, 'config.json')])
  writeFileSync(join(folder, 'x'), 'x')
  const cases = [
    {
      archive: execFileSync('tar', ['-cf', '-', '-C', folder, 'config.json']),
      says: /entry of type "2"; expected a regular file/,
    },
    {
      archive: execFileSync('tar', ['-cPf', '-', '-C', folder, '--transform', 's|^|../|', 'x']),
      says: /"\.\.\/x" leaves the folder/,
    },
  ]
  for (const { archive, says } of cases) {
    const { server: _, ...http } = await served(archive, 'evil.tar')
    await assert.rejects(fetchFrom({ http }), { reason: 'SourceInvalid', message: says })
  }
})

test('a URL that is something else is refused', async () => {
  const { server: _, ...http } = await served(Buffer.from('<html>not found</html>'), 'page')
  await assert.rejects(fetchFrom({ http }), { reason: 'SourceInvalid', message: /neither a GGUF file nor a \.tar/ })
  await assert.rejects(fetchFrom({ http: { ...http, sha256: sha256(Buffer.from('x')) } }), {
    reason: 'SourceInvalid',
    message: /expected/,
  })
  await assert.rejects(fetchFrom({ http: { url: 'file:///etc/passwd', sha256: http.sha256 } }), {
    reason: 'ConfigurationInvalid',
  })
  await assert.rejects(fetchFrom({ http: { ...http, sha256: 'abc' } }), {
    reason: 'ConfigurationInvalid',
    message: /64 lower-case hex/,
  })
})

test('a folder on the volume is proven and summed in place', async () => {
  cpSync(fixture, join(dataDir, 'mine/tiny'), { recursive: true })
  const result = await fetchFrom({ volumePath: 'mine/tiny' })
  assert.deepEqual(result.model, { path: 'mine/tiny', digest, revision: '', name: 'tiny' })
  assert.equal(existsSync(join(dataDir, 'models')), false)
  const elsewhere = await fetchFrom({ volumePath: fixture })
  assert.deepEqual([elsewhere.model?.path, elsewhere.model?.digest], [fixture, digest])
})

test('a folder on the volume that is missing, broken or above it is refused', async () => {
  await assert.rejects(fetchFrom({ volumePath: 'nowhere' }), { reason: 'NotFound' })
  await assert.rejects(fetchFrom({ volumePath: '../x' }), { reason: 'ConfigurationInvalid', message: /without "\.\."/ })
  await assert.rejects(fetchFrom({}), { reason: 'ConfigurationInvalid', message: /no source/ })
  cpSync(fixture, join(dataDir, 'cut'), { recursive: true })
  truncateSync(join(dataDir, 'cut/model.safetensors'), 100_000)
  await assert.rejects(fetchFrom({ volumePath: 'cut' }), { reason: 'SourceInvalid', message: /the file is truncated/ })
})
