/** Deleting each kind leaves no Kubernetes object, pod or lock; the files on the claim stay or go as reclaimPolicy says. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { waitFor } from './kubectl.ts'
import type { CustomObject } from './objects.ts'
import { datasetSpec, type Namespace, openWorld, runFolder, runSpec, type World } from './world.ts'

let world: World
let namespace: Namespace

/** Files of the objects of either policy, by the name that the three objects share. */
const folders: Record<'kept' | 'swept', readonly string[]> = { kept: [], swept: [] }
const policies = { kept: 'Retain', swept: 'Delete' } as const
const names = ['kept', 'swept'] as const
/** A sweep takes only what is this much older than its own Job's object, in milliseconds (docs/adr/0006). */
const sweptWhenOlder = 30_000
let applied: number

const leftovers = async (selector: string): Promise<string> =>
  (
    await namespace.kubectl([
      'get',
      'pods,jobs,configmaps,deployments,services,networkpolicies,leases',
      '-l',
      selector,
      '-o',
      'name',
    ])
  ).trim()

/** Deletes an object; whatever carries its label must have been there, and go. */
async function deleteAll(kind: 'arl' | 'qlr' | 'hds', name: string): Promise<void> {
  const selector = `humanizer.dev/${{ arl: 'release', qlr: 'run', hds: 'dataset' }[kind]}=${name}`
  assert.notEqual(await leftovers(selector), '', `nothing is labelled ${selector}`)
  await namespace.kubectl(['delete', kind, name, '--wait=true'])
  const gone = async () => ((await leftovers(selector)) === '' ? true : undefined)
  await waitFor(`nothing labelled ${selector} to be left`, 240, gone, 1000)
}

const there = (folder: string): boolean => existsSync(join(namespace.folder, folder))

/** Three objects of one policy; their content is of their own, and so are their folders. */
async function applyThree(name: 'kept' | 'swept', limit: number): Promise<void> {
  const storage = { storage: { reclaimPolicy: policies[name] } }
  await namespace.apply('HumanizerDataset', name, datasetSpec(limit, storage))
  await namespace.apply('QLoRARun', name, runSpec(20, { datasetRef: { name }, ...storage }))
  await namespace.apply('AdapterRelease', name, { source: { run: { name, checkpoint: 'Latest' } }, ...storage })
}

async function foldersOf(name: 'kept' | 'swept'): Promise<readonly string[]> {
  const release = await namespace.ready('arl', name, 300)
  const run = (await namespace.get('qlr', name)) as CustomObject
  const digest = release.status?.active?.digest?.replace('sha256:', '')
  const dataset = run.status?.datasetLocation
  assert.ok(digest && dataset)
  const found = [dataset, runFolder(namespace.name, run), `adapters/${digest}`]
  for (const folder of found) assert.ok(there(folder), `no folder ${folder}`)
  return found
}

before(async () => {
  world = await openWorld()
  namespace = await world.openNamespace('deletes')
  await applyThree('kept', 200)
  await applyThree('swept', 150)
  applied = Date.now()
  await namespace.apply('HumanizerDataset', 'living', datasetSpec(120, { storage: { reclaimPolicy: 'Delete' } }))
  for (const name of names) folders[name] = await foldersOf(name)
  assert.equal(new Set([...folders.kept, ...folders.swept]).size, 6)
})

test('a deleted release leaves no pod, Service or ConfigMap', async () => {
  for (const name of names) await deleteAll('arl', name)
})

test('a run deleted while it trains leaves no pod or Job, and its sealed checkpoints stay on the claim', async () => {
  await namespace.apply('QLoRARun', 'cut-off', runSpec(400, { datasetRef: { name: 'kept' } }))
  const run = (await namespace.get('qlr', 'cut-off'))!
  await waitFor(
    'cut-off to seal a checkpoint',
    240,
    async () => (namespace.sealed(run).length > 0 ? true : undefined),
    50,
  )
  await deleteAll('qlr', 'cut-off')
  assert.ok(namespace.sealed(run).length > 0)
  assert.deepEqual(
    namespace.files(runFolder(namespace.name, run)).filter((file) => file.includes('lock')),
    [],
  )
})

test('deleted runs and datasets leave no Job or pod', async () => {
  for (const name of names) {
    await deleteAll('qlr', name)
    await deleteAll('hds', name)
  }
})

test('the next Job removes the files of deleted objects that said Delete, and no others', async () => {
  const living = await namespace.ready('hds', 'living')
  const [dataset, run] = folders.swept // a release's adapter may have gone with the Job of an earlier test
  assert.ok(there(dataset!) && there(run!), 'something else than a Job removed them')
  await sleep(Math.max(0, applied + sweptWhenOlder + 2000 - Date.now()))
  await namespace.apply('HumanizerDataset', 'later', datasetSpec(60))
  const later = await namespace.ready('hds', 'later')
  assert.deepEqual(folders.swept.filter(there), [])
  const stay = [...folders.kept, living.status?.location ?? '', later.status?.location ?? '']
  assert.deepEqual(stay.filter(there), stay)
})

test('the namespace can be deleted', async () => {
  await namespace.kubectl(['delete', 'namespace', 'deletes', '--timeout=240s'])
})
