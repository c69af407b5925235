/** Deleting each kind leaves no Kubernetes object, pod or lock; the files on the claim stay (they are the user's). */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { waitFor } from './kubectl.ts'
import { datasetSpec, type Namespace, openWorld, runSpec, type World } from './world.ts'

let world: World
let namespace: Namespace

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

const gone = (selector: string): Promise<true> =>
  waitFor(`nothing labelled ${selector} to be left`, 90, async () =>
    (await leftovers(selector)) === '' ? true : undefined,
  )

before(async () => {
  world = await openWorld()
  namespace = await world.openNamespace('deletes')
  await namespace.apply('HumanizerDataset', 'prose', datasetSpec())
  await namespace.apply('QLoRARun', 'gone', runSpec(20))
  await namespace.apply('AdapterRelease', 'gone', { source: { run: { name: 'gone', checkpoint: 'Latest' } } })
  await namespace.ready('arl', 'gone', 180)
})

test('a deleted release leaves no pod, Service or ConfigMap', async () => {
  await namespace.kubectl(['delete', 'arl', 'gone', '--wait=true'])
  await gone('humanizer.dev/release=gone')
})

test('a run deleted while it trains leaves no pod or Job, and its sealed checkpoints stay on the claim', async () => {
  await namespace.apply('QLoRARun', 'cut-off', runSpec(400))
  const run = await namespace.until('qlr', 'cut-off', 'to have sealed a checkpoint', 120, (seen) =>
    namespace.files(`runs/deletes/cut-off/${seen.metadata.uid}`).includes('checkpoint-20'),
  )
  await namespace.kubectl(['delete', 'qlr', 'cut-off', '--wait=true'])
  await gone('humanizer.dev/run=cut-off')
  const files = namespace.files(`runs/deletes/cut-off/${run.metadata.uid}`)
  assert.ok(
    files.some((file) => file.startsWith('checkpoint-')),
    `files: ${files}`,
  )
  assert.deepEqual(
    files.filter((file) => file.includes('lock')),
    [],
  )
})

test('a deleted dataset leaves no Job, and the namespace can be deleted', async () => {
  await namespace.kubectl(['delete', 'hds', 'prose', '--wait=true'])
  await gone('humanizer.dev/dataset=prose')
  await namespace.kubectl(['delete', 'namespace', 'deletes', '--timeout=120s'])
})
