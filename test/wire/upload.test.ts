/** The Job of spec.push against real servers: each artifact, from what lies on a claim. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'
import { PushConfig, type PushResult } from '#proto/humanizer/trainer/v1/push.ts'
import type { JobContext } from '../../trainer-image/job/context.ts'
import { readGguf } from '../../trainer-image/model/gguf.ts'
import { readAsGguf } from '../../trainer-image/model/gguf-adapter.ts'
import { upload } from '../../trainer-image/push/upload.ts'
import { hexOf } from '../../trainer-image/storage/digest.ts'
import { dockerConfig, type Registry, startRegistry, withPassword } from '../fixtures/registry.ts'
import { s3Bucket, s3Keys, startS3 } from '../fixtures/s3.ts'
import { type Checkpoint, Claim } from './serving-pod.ts'

const main = fileURLToPath(new URL('../../trainer-image/main.ts', import.meta.url))
let claim: Claim
let adapter: Checkpoint
let registry: Registry
let auth: string

before(async () => {
  claim = await Claim.create()
  adapter = await claim.checkpoint('one', 1)
  registry = await startRegistry(claim.root, withPassword)
  auth = join(claim.root, 'auth.json')
  writeFileSync(auth, dockerConfig(registry.host))
})
after(async () => {
  registry?.stop()
  await claim.remove()
})

const wanted = (changes: Partial<PushConfig> = {}): PushConfig =>
  PushConfig.fromPartial({
    owner: { namespace: 'team', name: 'writer', uid: 'release-uid' },
    attempt: 3,
    model: { path: 'models/tiny-llama', digest: claim.base.digest, name: 'tiny-llama' },
    digest: adapter.digest,
    sourcePath: adapter.path,
    artifact: 'Adapter',
    registry: { repository: `${registry.host}/team/writer`, plainHttp: true, authFile: auth },
    ...changes,
  })

const run = (config: PushConfig): Promise<PushResult> => {
  const context = { dataDir: claim.dataDir, log: pino({ enabled: false }), signal: AbortSignal.any([]) }
  return upload(config, context as Partial<JobContext> as JobContext)
}

/** The process, as a pod runs it. */
function job(config: PushConfig): { status: number | null; result: JobResult; stderr: string } {
  const [file, log] = [join(claim.root, 'config.json'), join(claim.root, 'termination-log')]
  writeFileSync(file, JSON.stringify(PushConfig.toJSON(config)))
  const args = [main, 'upload', '--config', file, '--data', claim.dataDir, '--termination-log', log]
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  return { status, stderr, result: JobResult.fromJSON(JSON.parse(readFileSync(log, 'utf8'))) }
}

interface Manifest {
  readonly artifactType: string
  readonly annotations: Record<string, string>
  readonly layers: readonly { digest: string; annotations: Record<string, string> }[]
}

/** Reads `reference` back with the password. */
async function pull(reference: string): Promise<{ manifest: Manifest; files: Map<string, Buffer> }> {
  const [repository, digest] = reference.replace(`${registry.host}/`, '').split('@')
  const headers = {
    authorization: `Basic ${Buffer.from('writer:secret').toString('base64')}`,
    accept: 'application/vnd.oci.image.manifest.v1+json',
  }
  const get = async (path: string): Promise<Buffer> => {
    const answer = await fetch(`http://${registry.host}/v2/${repository}/${path}`, { headers })
    assert.equal(answer.status, 200, path)
    return Buffer.from(await answer.arrayBuffer())
  }
  const manifest: Manifest = JSON.parse((await get(`manifests/${digest}`)).toString())
  const files = new Map<string, Buffer>()
  for (const layer of manifest.layers) {
    const bytes = await get(`blobs/${layer.digest}`)
    assert.equal(`sha256:${createHash('sha256').update(bytes).digest('hex')}`, layer.digest)
    files.set(layer.annotations['org.opencontainers.image.title']!, bytes)
  }
  return { manifest, files }
}

test('the Job sends the adapter and tells what to pull; made again it sends nothing', async () => {
  const { status, result, stderr } = job(wanted())
  assert.equal(status, 0, stderr)
  assert.deepEqual([result.ownerUid, result.attempt, result.push?.digest], ['release-uid', 3, adapter.digest])
  const { reference = '', files, present } = result.push ?? {}
  assert.equal(present, 0)
  const pulled = await pull(reference)
  assert.equal(pulled.manifest.annotations['dev.humanizer.digest'], adapter.digest)
  const weights = 'adapter_model.safetensors'
  assert.deepEqual(pulled.files.get(weights), readFileSync(claim.adapterFile(adapter.digest, weights)))
  assert.deepEqual(await run(wanted({ sourcePath: 'runs/gone' })), {
    digest: adapter.digest,
    reference,
    files,
    present: files,
  })
})

test('as GGUF it is the one file that llama.cpp reads, named with the digests of adapter and base', async () => {
  const { reference, files } = await run(wanted({ artifact: 'AdapterGGUF' }))
  const pulled = await pull(reference)
  assert.equal(pulled.manifest.artifactType, 'application/vnd.humanizer.gguf.v1')
  assert.deepEqual(
    [pulled.manifest.annotations['dev.humanizer.adapter'], pulled.manifest.annotations['dev.humanizer.base']],
    [adapter.digest, claim.base.digest],
  )
  assert.deepEqual([...pulled.files.keys(), files], ['adapter.gguf', 'manifest.json', 2])
  const folder = join(claim.adapterFile(adapter.digest, '.'))
  assert.deepEqual(pulled.files.get('adapter.gguf'), Buffer.concat(await readAsGguf(claim.model, folder)))
})

test('merged it is made on the claim first, once', async () => {
  const { reference } = await run(wanted({ artifact: 'Merged' }))
  const pulled = await pull(reference)
  assert.equal(pulled.manifest.artifactType, 'application/vnd.humanizer.merged.v1')
  assert.equal(pulled.manifest.annotations['dev.humanizer.adapter'], adapter.digest)
  assert.ok(pulled.files.has('model.safetensors') && pulled.files.has('config.json'))
  assert.equal((await run(wanted({ artifact: 'Merged' }))).reference, reference)
})

test('merged as GGUF it is one file that holds the whole model', async () => {
  const { reference } = await run(wanted({ artifact: 'MergedGGUFQ8' }))
  const pulled = await pull(reference)
  assert.equal(pulled.manifest.artifactType, 'application/vnd.humanizer.gguf.v1')
  assert.deepEqual([...pulled.files.keys()], ['model.gguf', 'manifest.json'])
  const path = join(claim.root, 'model.gguf')
  writeFileSync(path, pulled.files.get('model.gguf')!)
  const { metadata } = await readGguf(path)
  assert.deepEqual(
    [
      metadata.get('humanizer.adapter.digest'),
      metadata.get('humanizer.base.digest'),
      metadata.get('general.file_type'),
    ],
    [adapter.digest, claim.base.digest, 7],
  )
})

test('to S3 it goes with the keys of a mounted Secret', async () => {
  const s3 = await startS3(claim.root)
  try {
    const credentialsFolder = join(claim.root, 'aws')
    mkdirSync(credentialsFolder)
    const place = { bucket: s3Bucket, prefix: 'team', region: 'us-east-1', endpoint: s3.endpoint, credentialsFolder }
    const config = wanted({ registry: undefined, s3: place })
    writeFileSync(join(credentialsFolder, 'AWS_ACCESS_KEY_ID'), `${s3Keys.accessKeyId}\n`)
    await assert.rejects(run(config), { reason: 'NotFound', message: /has no key AWS_SECRET_ACCESS_KEY/ })
    writeFileSync(join(credentialsFolder, 'AWS_SECRET_ACCESS_KEY'), s3Keys.secretAccessKey)
    const { reference } = await run(config)
    assert.equal(reference, `s3://${s3Bucket}/team/adapters/${hexOf(adapter.digest)}`)
    assert.ok(existsSync(join(s3.folder, reference.replace(`s3://${s3Bucket}/`, ''), 'manifest.json')))
  } finally {
    s3.stop()
  }
})

const refusals: { what: string; config: () => Partial<PushConfig>; says: RegExp }[] = [
  {
    what: 'a password that the registry does not take',
    config: () => {
      const authFile = join(claim.root, 'wrong.json')
      writeFileSync(authFile, dockerConfig(registry.host, 'writer:wrong'))
      return { registry: { repository: `${registry.host}/w`, plainHttp: true, authFile } }
    },
    says: /^AccessDenied .*the registry answered 401/,
  },
  {
    what: 'a Secret that is no dockerconfigjson',
    config: () => {
      const authFile = join(claim.root, 'other.json')
      writeFileSync(authFile, 'secret')
      return { registry: { repository: `${registry.host}/w`, plainHttp: true, authFile } }
    },
    says: /^ConfigurationInvalid .*expected a dockerconfigjson/,
  },
  { what: 'no destination', config: () => ({ registry: undefined }), says: /no destination is named/ },
]
for (const { what, config, says } of refusals)
  test(`${what} ends the Job in words`, async () => {
    await assert.rejects(run(wanted(config())), (error: Error & { reason: string }) => {
      assert.match(`${error.reason} ${error.message}`, says)
      return true
    })
  })

test('an adapter that is nowhere is NotFound', async () => {
  const other = await claim.checkpoint('two', 2)
  await rm(join(claim.dataDir, other.path), { recursive: true })
  await assert.rejects(run(wanted({ digest: other.digest, sourcePath: other.path })), { reason: 'NotFound' })
})
