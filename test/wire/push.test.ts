/** Adapters pushed to a real registry (Debian's docker-registry): by digest, once, with passwords and tokens. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { dump } from 'js-yaml'
import { pushFolder } from '../../trainer-image/push/push.ts'
import { RegistryClient } from '../../trainer-image/push/registry-client.ts'
import type { Manifest } from '../../trainer-image/storage/sealed.ts'
import { spawnTied } from '../child.ts'
import { sealAdapter, tinyLlama } from '../fixtures/adapter.ts'

const main = fileURLToPath(new URL('../../trainer-image/main.ts', import.meta.url))
const script = fileURLToPath(new URL('../cluster/registry.sh', import.meta.url))
/** bcrypt of "secret", made once by crypt(3). */
const htpasswd = 'writer:$2b$05$vR9V.Weh7uoXBY7JI82n/.FlaZ4XwkgkdHH7HybXeA3zTyHw1Q/5W\n'

const root = mkdtempSync(join(tmpdir(), 'humanizer-push-'))
const folder = join(root, 'adapter')
let manifest: Manifest
let program: string
let registry: ChildProcess | undefined
let others: Server[] = []

before(async () => {
  program = execFileSync(script, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim()
  manifest = await sealAdapter(tinyLlama, folder, { rank: 4, alpha: 8, targetModules: ['q_proj'] })
})
afterEach(() => {
  registry?.kill()
  for (const server of others) server.close()
  others = []
})
after(() => rmSync(root, { recursive: true }))

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/** A fresh, empty registry; resolves host:port. */
async function start(auth?: object): Promise<string> {
  const home = mkdtempSync(join(root, 'registry-'))
  const host = `127.0.0.1:${await freePort()}`
  const config = join(home, 'config.yaml')
  writeFileSync(join(home, 'htpasswd'), htpasswd)
  const storage = { filesystem: { rootdirectory: join(home, 'storage') } }
  const access = auth && JSON.parse(JSON.stringify(auth).replaceAll('HOME', home))
  writeFileSync(config, dump({ version: '0.1', storage, http: { addr: host }, ...(access && { auth: access }) }))
  registry = spawnTied(program, ['serve', config], { stdio: 'ignore' })
  for (let tries = 0; tries < 100; tries++) {
    if (await fetch(`http://${host}/v2/`).catch(() => undefined)) return host
    await sleep(100)
  }
  throw new Error('the registry does not answer')
}

async function serve(handler: Parameters<typeof createServer>[1]): Promise<string> {
  const server = createServer(handler!).listen(0, '127.0.0.1')
  await once(server, 'listening')
  others.push(server)
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A dockerconfigjson with these credentials for a host. */
function credentials(host: string, user = 'writer:secret'): string {
  const file = join(root, `auth-${host.replace(':', '-')}.json`)
  writeFileSync(file, JSON.stringify({ auths: { [host]: { auth: Buffer.from(user).toString('base64') } } }))
  return file
}

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
  const { sha256: sum, bytes } = manifest.files['adapter_model.safetensors']!
  await client.putBlob(`sha256:${sum}`, { file: join(folder, 'adapter_model.safetensors'), bytes })
  const to = `${host}/team/writer`
  const first = await pushFolder(folder, to, { plain: true })
  assert.equal(first.present, 1)
  const second = await pushFolder(folder, to, { plain: true })
  assert.deepEqual(second, { ...first, present: first.files })
})

test('a registry with passwords takes those of a dockerconfigjson, and refuses others with exit 77', async () => {
  const host = await start({ htpasswd: { realm: 'r', path: 'HOME/htpasswd' } })
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
