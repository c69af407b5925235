/** The serving pod's words for an adapter or a base whose files are gone are what the operator reads ArtifactMissing from. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { failureReason } from '../../operator/release/obstacle.ts'
import { openModel } from '../../trainer-image/model/open.ts'
import { adapterFolder, promote } from '../../trainer-image/serve/adapters.ts'
import { adapterDigest } from '../../trainer-image/storage/adapter-identity.ts'
import { seal, verifySealed } from '../../trainer-image/storage/sealed.ts'

const base = {
  digest: `sha256:${'b'.repeat(64)}`,
  quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true },
}
const files = ['adapter_config.json', 'adapter_model.safetensors', 'tokenizer.json']

let data: string
let source: string
let digest: string

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'humanizer-missing-'))
  source = join(data, 'run')
  await mkdir(source)
  for (const name of files) await writeFile(join(source, name), name)
  digest = (await seal(source, (sums) => adapterDigest(sums, base), { base })).digest
})
afterEach(() => rm(data, { recursive: true, force: true }))

/** What a pod says when it is to load the adapter and cannot. */
async function failure(sourcePath: string): Promise<string> {
  try {
    await promote(data, { generation: 1, digest, sourcePath, format: undefined, warmSeconds: 0, split: undefined })
    await verifySealed(adapterFolder(data, digest))
  } catch (error) {
    return (error as Error).message
  }
  return ''
}

test('a checkpoint that is gone before it was promoted is missing', async () => {
  await rm(source, { recursive: true })
  assert.equal(failureReason(await failure('run')), 'ArtifactMissing')
})

test('a promoted adapter that is gone is missing, whether its checkpoint is named or not', async () => {
  assert.equal(await failure('run'), '')
  await rm(data, { recursive: true })
  assert.equal(failureReason(await failure('run')), 'ArtifactMissing')
  assert.equal(failureReason(await failure('')), 'ArtifactMissing')
})

test('a promoted adapter that lost a file is missing, one whose bytes changed cannot be loaded', async () => {
  assert.equal(await failure('run'), '')
  const model = join(adapterFolder(data, digest), 'adapter_model.safetensors')
  await rm(model)
  assert.equal(failureReason(await failure('run')), 'ArtifactMissing')
  await writeFile(model, 'ADAPTER_model.safetensors')
  assert.equal(failureReason(await failure('run')), 'LoadFailed')
})

test('a base that is gone is missing', async () => {
  const words = await openModel(join(data, 'models/m')).then(String, ({ message }: Error) => message)
  assert.equal(failureReason(words), 'ArtifactMissing')
})
