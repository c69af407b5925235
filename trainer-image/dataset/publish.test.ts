import assert from 'node:assert/strict'
import { appendFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { type OwnerRecord, ownersOf } from '../storage/owners.ts'
import { verifySealed } from '../storage/sealed.ts'
import { publish } from './publish.ts'

let data: string
beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'humanizer-publish-'))
})
afterEach(() => rm(data, { recursive: true, force: true }))

const owner = (uid: string): OwnerRecord => ({
  version: 1,
  kind: 'HumanizerDataset',
  namespace: 'team',
  name: 'prose',
  uid,
  reclaimPolicy: 'Delete',
  createdTime: '2026-01-01T00:00:00Z',
})

async function output(rows = 'rows'): Promise<string> {
  const folder = join(data, 'output')
  await mkdir(folder)
  for (const name of ['ai_inputs.parquet', 'dataset.json', 'train.parquet', 'validation.parquet'])
    await writeFile(join(folder, name), rows)
  return folder
}
const owners = async (location: string): Promise<string[] | undefined> =>
  (await ownersOf(join(data, location)))?.map(({ uid }) => uid).sort()

test('a dataset names its owner, which is no part of what it is', async () => {
  const { digest, location } = await publish(await output(), data, owner('first'))
  assert.deepEqual(await owners(location), ['first'])
  assert.equal((await verifySealed(join(data, location))).digest, digest)
  assert.deepEqual(await publish(await output(), data), { digest, location })
})

test('equal content of two owners is one folder of both', async () => {
  const { location } = await publish(await output(), data, owner('first'))
  await publish(await output(), data, owner('second'))
  assert.deepEqual(
    [await owners(location), await readdir(join(data, 'datasets'))],
    [['first', 'second'], [location.slice(9)]],
  )
})

test('a damaged folder is replaced and keeps its owners', async () => {
  const { location } = await publish(await output(), data, owner('first'))
  await appendFile(join(data, location, 'train.parquet'), 'x')
  await publish(await output(), data, owner('second'))
  await verifySealed(join(data, location))
  assert.deepEqual(await owners(location), ['first', 'second'])
})
