import assert from 'node:assert/strict'
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import type { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import { adapterDigest } from '../storage/adapter-identity.ts'
import { hexOf } from '../storage/digest.ts'
import { type OwnerRecord, ownersOf } from '../storage/owners.ts'
import { seal, verifySealed } from '../storage/sealed.ts'
import { adapterFolder, promote, promoteAgain, sweepPromotions } from './adapters.ts'

const base = {
  digest: `sha256:${'b'.repeat(64)}`,
  quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true },
}

let data: string
let wanted: DesiredAdapter

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'humanizer-adapters-'))
  const sourcePath = 'runs/test/one/uid/checkpoint-3'
  const source = join(data, sourcePath)
  await mkdir(source, { recursive: true })
  for (const name of ['adapter_config.json', 'adapter_model.safetensors', 'tokenizer.json', 'optimizer.safetensors']) {
    await writeFile(join(source, name), `bytes of ${name}`)
  }
  const { digest } = await seal(source, (files) => adapterDigest(files, base), { base, step: 3 })
  wanted = { generation: 1, digest, sourcePath, format: undefined, warmSeconds: 0, split: undefined }
})
afterEach(() => rm(data, { recursive: true, force: true }))

const adapters = () => readdir(join(data, 'adapters'))

test('promotion copies the adapter without the state to train on, seals it and leaves nothing else', async () => {
  await promote(data, wanted)
  const { digest, files } = await verifySealed(adapterFolder(data, wanted.digest))
  assert.equal(digest, wanted.digest)
  assert.deepEqual(Object.keys(files), ['adapter_config.json', 'adapter_model.safetensors', 'tokenizer.json'])
  assert.deepEqual(await adapters(), [hexOf(wanted.digest)])
})

test('promotion links where the volume can, and the adapter stays when the run is deleted', async () => {
  await promote(data, wanted)
  assert.equal((await stat(join(adapterFolder(data, wanted.digest), 'tokenizer.json'))).nlink, 2)
  await rm(join(data, 'runs'), { recursive: true })
  await promote(data, { ...wanted, sourcePath: '' })
  await verifySealed(adapterFolder(data, wanted.digest))
})

const owner = (uid: string): OwnerRecord => ({
  version: 1,
  kind: 'AdapterRelease',
  namespace: 'test',
  name: 'writer',
  uid,
  reclaimPolicy: 'Delete',
  createdTime: '2026-01-01T00:00:00Z',
})

test('an adapter names every release that promoted it, also one that found it there', async () => {
  await promote(data, wanted, owner('first'))
  await promote(data, { ...wanted, sourcePath: '' }, owner('second'))
  const folder = adapterFolder(data, wanted.digest)
  assert.deepEqual((await ownersOf(folder))?.map(({ uid }) => uid).sort(), ['first', 'second'])
  await verifySealed(folder)
})

test('pods that promote at once all find the same folder', async () => {
  await Promise.all(Array.from({ length: 8 }, () => promote(data, wanted)))
  await verifySealed(adapterFolder(data, wanted.digest))
  assert.deepEqual(await adapters(), [hexOf(wanted.digest)])
})

const refused: { a_checkpoint: string; spoil: (source: string) => Promise<unknown>; message: RegExp }[] = [
  {
    a_checkpoint: 'whose bytes changed',
    spoil: (source) => appendFile(join(source, 'tokenizer.json'), 'x'),
    message: /holds adapter sha256:/,
  },
  {
    a_checkpoint: 'that lost a file',
    spoil: (source) => rm(join(source, 'tokenizer.json')),
    message: /tokenizer\.json is missing/,
  },
  {
    a_checkpoint: 'that was never sealed',
    spoil: (source) => rm(join(source, 'manifest.json')),
    message: /is not a sealed checkpoint/,
  },
  {
    a_checkpoint: 'that does not say its base',
    spoil: (source) => seal(source, wanted.digest),
    message: /does not say which base/,
  },
]
for (const { a_checkpoint, spoil, message } of refused) {
  test(`a checkpoint ${a_checkpoint} is not promoted and leaves nothing behind`, async () => {
    await spoil(join(data, wanted.sourcePath))
    await assert.rejects(promote(data, wanted), message)
    assert.deepEqual(await adapters().catch(() => []), [])
  })
}

test('another digest than the checkpoint has is not promoted under its name', async () => {
  await assert.rejects(
    promote(data, { ...wanted, digest: `sha256:${'1'.repeat(64)}` }),
    /holds adapter sha256:.* expected sha256:1+$/,
  )
})

test('what is promoted again replaces the damaged folder and keeps its owners', async () => {
  await promote(data, wanted, owner('first'))
  const folder = adapterFolder(data, wanted.digest)
  await rm(join(folder, 'tokenizer.json'))
  await writeFile(join(folder, 'tokenizer.json'), 'other bytes')
  await promoteAgain(data, wanted, owner('second'))
  await verifySealed(folder)
  assert.deepEqual((await ownersOf(folder))?.map(({ uid }) => uid).sort(), ['first', 'second'])
  assert.deepEqual(await adapters(), [hexOf(wanted.digest)])
})

test('where the checkpoint is no better, the damaged folder stays as it is', async () => {
  await promote(data, wanted)
  const file = join(adapterFolder(data, wanted.digest), 'tokenizer.json')
  await appendFile(file, 'x') // linked: the checkpoint has the same bytes
  await assert.rejects(promoteAgain(data, wanted), /holds adapter sha256:/)
  await assert.rejects(promoteAgain(data, { ...wanted, sourcePath: '' }), /no checkpoint is named/)
  assert.equal(await readFile(file, 'utf8'), 'bytes of tokenizer.jsonx')
  assert.deepEqual(await adapters(), [hexOf(wanted.digest)])
})

test('the date of the chat template goes with the adapter', async () => {
  const source = join(data, wanted.sourcePath)
  await seal(source, wanted.digest, { base, templateDate: '01 Jan 2020' })
  await promote(data, wanted)
  assert.equal((await verifySealed(adapterFolder(data, wanted.digest))).templateDate, '01 Jan 2020')
})

test('what a killed promotion left is swept once it is old, and nothing else', async () => {
  await promote(data, wanted)
  const [old, fresh] = ['.a.tmp', '.b.tmp'].map((name) => join(data, 'adapters', name))
  await Promise.all([mkdir(old!), mkdir(fresh!)])
  await utimes(old!, new Date(0), new Date(0))
  await sweepPromotions(data)
  assert.deepEqual(await adapters(), ['.b.tmp', hexOf(wanted.digest)])
})
