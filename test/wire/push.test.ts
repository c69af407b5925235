/** Adapters pushed to a real registry (Debian's docker-registry): by digest, once, with passwords and tokens. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { folderArtifact } from '../../trainer-image/push/artifact.ts'
import { type Pushed, pushArtifact } from '../../trainer-image/push/push.ts'
import { RegistryClient, type RegistryOptions } from '../../trainer-image/push/registry-client.ts'
import type { Manifest } from '../../trainer-image/storage/sealed.ts'
import { sealAdapter, tinyLlama } from '../fixtures/adapter.ts'
import { dockerConfig, freePort, type Registry, startRegistry, withPassword } from '../fixtures/registry.ts'

const main = fileURLToPath(new URL('../../trainer-image/main.ts', import.meta.url))

const root = mkdtempSync(join(tmpdir(), 'humanizer-push-'))
const folder = join(root, 'adapter')
let manifest: Manifest
let registry: Registry | undefined
let others: Server[] = []

before(async () => {
  manifest = await sealAdapter(tinyLlama, folder, { rank: 4, alpha: 8, targetModules: ['q_proj'] })
})
afterEach(() => {
  registry?.stop()
  for (const server of others) server.close()
  others = []
})
after(() => rmSync(root, { recursive: true }))

/** A fresh, empty registry; resolves host:port. */
async function start(auth?: object): Promise<string> {
  registry = await startRegistry(root, auth)
  return registry.host
}

async function serve(handler: Parameters<typeof createServer>[1]): Promise<string> {
  const server = createServer(handler!).listen(0, '127.0.0.1')
  await once(server, 'listening')
  others.push(server)
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A dockerconfigjson with these credentials for a host. */
function credentials(host: string, user?: string): string {
  const file = join(root, `auth-${host.replace(':', '-')}.json`)
  writeFileSync(file, dockerConfig(host, user))
  return file
}

const pushFolder = async (from: string, to: string, options?: RegistryOptions): Promise<Pushed> =>
  pushArtifact(await folderArtifact(from), to, options)

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

test('a folder is an artifact whose layers are its files by name, found by the digest of its content', async () => {
  const host = await start()
  const { reference, tag, files, present } = await pushFolder(folder, `${host}/team/writer`, { plain: true })
  assert.equal(tag, manifest.digest.replace(':', '-'))
  assert.deepEqual([present, files], [0, Object.keys(manifest.files).length + 1])
  const get = async (path: string) =>
    new Uint8Array(
      await (
        await fetch(`http://${host}/v2/team/writer/${path}`, {
          headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
        })
      ).arrayBuffer(),
    )
  const told = await get(`manifests/${tag}`)
  assert.equal(reference, `${host}/team/writer@${sha256(told)}`)
  const artifact = JSON.parse(Buffer.from(told).toString())
  assert.equal(artifact.artifactType, 'application/vnd.humanizer.adapter.v1')
  assert.equal(artifact.annotations['dev.humanizer.digest'], manifest.digest)
  for (const { digest, size, annotations } of artifact.layers) {
    const bytes = await get(`blobs/${digest}`)
    const name = annotations['org.opencontainers.image.title']
    assert.deepEqual([sha256(bytes), bytes.length], [digest, size])
    assert.deepEqual(Buffer.from(bytes), readFileSync(join(folder, name)), name)
  }
})

test('what is there is not sent again: a push that was cut off goes on, one that was done does nothing', async () => {
  const host = await start()
  const client = new RegistryClient({ host, repository: 'team/writer' }, { plain: true })
  const weights = (await folderArtifact(folder)).files.get('adapter_model.safetensors')!
  await client.putBlob(`sha256:${weights.sha256}`, weights)
  const to = `${host}/team/writer`
  const first = await pushFolder(folder, to, { plain: true })
  assert.equal(first.present, 1)
  const second = await pushFolder(folder, to, { plain: true })
  assert.deepEqual(second, { ...first, present: first.files })
})

test('a registry with passwords takes those of a dockerconfigjson, and refuses others with exit 77', async () => {
  const host = await start(withPassword)
  const push = (...more: string[]) =>
    spawnSync(process.execPath, [main, 'push', '--folder', folder, '--to', `${host}/w`, '--plain-http', ...more], {
      encoding: 'utf8',
    })
  const done = push('--auth', credentials(host))
  assert.equal(done.status, 0, done.stderr)
  assert.match(done.stdout, new RegExp(`^${host}/w@sha256:[0-9a-f]{64}\n$`))
  const piped = spawnSync(
    process.execPath,
    [main, 'push', '--folder', folder, '--to', `${host}/w`, '--plain-http', '--auth', '-'],
    { encoding: 'utf8', input: readFileSync(credentials(host)) },
  )
  assert.deepEqual([piped.status, piped.stdout], [0, done.stdout], piped.stderr)
  const nobody = push()
  assert.deepEqual([nobody.status, nobody.stdout], [77, ''])
  assert.match(nobody.stderr, /^AccessDenied: .* asks for a password; expected one for it in --auth/)
  const wrong = push('--auth', credentials(host, 'writer:wrong'))
  assert.equal(wrong.status, 77)
  assert.match(wrong.stderr, /^AccessDenied: .*the registry answered 401/)
})

test('a registry with tokens is answered by way of its token server', async () => {
  const asked: string[] = []
  const realm = await serve((request, response) => {
    asked.push(`${request.headers.authorization} ${request.url}`)
    response.end(JSON.stringify({ token: 'a-token' }))
  })
  const host = await start({ silly: { realm: `http://${realm}/token`, service: 'registry' } })
  await pushFolder(folder, `${host}/team/writer`, { plain: true, auth: credentials(host) })
  const basic = Buffer.from('writer:secret').toString('base64')
  assert.deepEqual(asked, [`Basic ${basic} /token?service=registry&scope=repository%3Ateam%2Fwriter%3Apull%2Cpush`])
})

test('a registry that keeps something else than it was given is found out', async () => {
  const real = await start()
  const liar = await serve((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', async () => {
      const isLast = request.method === 'GET' && request.url?.includes('/manifests/sha256:')
      const headers = Object.fromEntries(
        Object.entries(request.headers).filter(
          ([name]) => !/^(host|connection|content-length|transfer-encoding|expect)$/.test(name),
        ),
      )
      const answer = await fetch(`http://${real}${request.url}`, {
        method: request.method!,
        headers: headers as Record<string, string>,
        ...(chunks.length > 0 && { body: Buffer.concat(chunks) }),
        ...(request.method === 'POST' && { body: '' }),
      })
      const location = answer.headers.get('location')
      response.writeHead(
        answer.status,
        location ? { location: location.replace(real, request.headers.host ?? '') } : {},
      )
      response.end(isLast ? '{}' : Buffer.from(await answer.arrayBuffer()))
    })
  })
  await assert.rejects(pushFolder(folder, `${liar}/w`, { plain: true }), {
    reason: 'VerificationFailed',
    message: /is other bytes after the push/,
  })
})

const refused = [
  { to: 'HOST/Team/Writer', says: /expected host\[:port\]\/repository in lower case/ },
  { to: 'HOST/writer:latest', says: /without tag or digest/ },
  { to: 'writer', says: /--to is "writer"/ },
]
for (const { to, says } of refused)
  test(`${to} is no place to push to`, async () => {
    await assert.rejects(pushFolder(folder, to.replace('HOST', '127.0.0.1:1')), {
      reason: 'ConfigurationInvalid',
      message: says,
    })
  })

test('a folder whose bytes changed is not pushed, and a registry that is away is Unavailable', async () => {
  const damaged = join(root, 'damaged')
  mkdirSync(damaged)
  await sealAdapter(tinyLlama, damaged, { rank: 4, alpha: 8, targetModules: ['q_proj'] })
  await assert.rejects(pushFolder(damaged, `127.0.0.1:${await freePort()}/w`, { plain: true }), {
    reason: 'Unavailable',
  })
  writeFileSync(join(damaged, 'tokenizer.json'), '{}')
  await assert.rejects(pushFolder(damaged, '127.0.0.1:1/w', { plain: true }), /tokenizer\.json has 2 bytes/)
})
