/** What becomes of a release when what it was made from is shared, changes its base or is deleted. */
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { type ApiServer, until } from './api-server.ts'
import { conditionOf, digestOf, ReleaseScene, readyOf } from './release-scene.ts'
import { sharedApiServer } from './shared-api-server.ts'

const [a, b, c] = ['a', 'b', 'c'].map(digestOf) as [string, string, string]
const checkpoint = (name: string, run = 'prose') => ({ source: { run: { name: run, checkpoint: name } } })

let server: ApiServer
let scene: ReleaseScene

before(async () => {
  server = await sharedApiServer()
})
after(() => server.stop())
beforeEach(async () => {
  scene = await ReleaseScene.begin(server)
  await scene.finishedRun()
})
afterEach(() => scene.end())

const serviceTo = async (): Promise<string | undefined> => {
  const services = await scene.list('/api/v1', 'services')
  const { spec } = services.find(({ metadata }) => metadata.name === 'writer') as unknown as {
    spec: { selector: Record<string, string> }
  }
  return spec.selector['humanizer.dev/serving']
}

test('two releases of one run serve each its own checkpoint, and one that is deleted takes nothing from the other', async () => {
  await scene.apply(checkpoint('Best'))
  await scene.apply(checkpoint('checkpoint-12'), 'reader')
  const writer = await scene.untilReady('True/Serving')
  const reader = await scene.untilReady('True/Serving', { name: 'reader' })
  assert.deepEqual([writer.status?.active?.digest, reader.status?.active?.digest], [b, a])
  assert.notEqual(writer.status?.endpoint, reader.status?.endpoint)
  assert.deepEqual(scene.pods.digests.toSorted(), [a, b])
  await scene.apply({ source: { digest: b } }, 'reader')
  await scene.untilReady('True/Serving', { name: 'reader' })
  assert.deepEqual(scene.pods.digests, [b, b])
  await scene.client.request('DELETE', scene.path('adapterreleases', 'writer'))
  await until('the pods of one are left', async () => scene.pods.uids.length === 1, 60)
  assert.equal(readyOf(await scene.get('reader')), 'True/Serving')
})

test('run and dataset are deleted while a release serves: it serves on, new pods come up with it, and status says so', async () => {
  const dataset = {
    apiVersion: 'humanizer.dev/v1alpha1',
    kind: 'HumanizerDataset',
    metadata: { name: 'prose' },
    spec: { sources: [{ name: 'prose', configMap: { name: 'prose', key: 'prose.jsonl' } }] },
  }
  await scene.client.request('POST', scene.path('humanizerdatasets'), { body: dataset })
  await scene.apply(checkpoint('Best'))
  await scene.untilReady('True/Serving')
  await scene.client.request('DELETE', scene.path('qloraruns', 'prose'))
  await scene.client.request('DELETE', scene.path('humanizerdatasets', 'prose'))
  const [before] = scene.pods.uids
  const [pod] = await scene.list('/api/v1', 'pods')
  await scene.client.request('DELETE', `/api/v1/namespaces/${scene.namespace}/pods/${pod?.metadata.name}`)
  await until('a new pod serves', async () => scene.pods.uids[0] !== before && scene.pods.digests[0] === b, 60)
  await scene.stopOperator()
  await scene.startOperator()
  await until('the release is Ready by its new pod', async () => {
    const release = await scene.get()
    return readyOf(release) === 'True/Serving' && release.status?.pods?.[0]?.uid === scene.pods.uids[0]
  })
  const { status } = await scene.get()
  assert.equal(status?.active?.digest, b)
  const { message = '' } = conditionOf(await scene.get(), 'Ready') ?? {}
  assert.match(message, /; run prose is deleted; release writer keeps on the claim prose\/checkpoint-24 \(active\)$/)
})

test('another base model without room waits beside the old one, which answers on; with room it takes over', async () => {
  await scene.apply(checkpoint('Best'))
  await scene.untilReady('True/Serving')
  const old = await serviceTo()
  await scene.finishedRun({ name: 'verse', letters: ['c'], model: 'n' })
  scene.pods.schedulerSays = '0/1 nodes are available: 1 Insufficient memory.'
  await scene.apply(checkpoint('Best', 'verse'))
  const waits = await scene.untilReady('False/NoCapacity')
  assert.match(conditionOf(waits, 'Reconciling')?.message ?? '', /1 Insufficient memory/)
  assert.deepEqual([waits.status?.active?.digest, waits.status?.candidate?.digest], [b, c])
  assert.equal(conditionOf(waits, 'Serving')?.status, 'True')
  assert.deepEqual([await serviceTo(), (await scene.deployments()).length], [old, 2])
  scene.pods.schedulerSays = ''
  const served = await scene.untilReady('True/Serving')
  assert.deepEqual([served.status?.active?.digest, served.status?.previous?.digest], [c, b])
  assert.notEqual(await serviceTo(), old)
  await until('the old Deployment is gone', async () => (await scene.deployments()).length === 1)
  await scene.apply({ source: { digest: b } })
  const back = await scene.untilReady('True/Serving')
  assert.deepEqual([back.status?.active?.digest, await serviceTo()], [b, old], 'and back the same way')
})

test('a candidate that waits for a person outlives its run: what it is made from stays, and status says so', async () => {
  await scene.apply({ ...checkpoint('Best'), review: { required: true } })
  await scene.untilReady('False/ReviewPending')
  await scene.client.request('DELETE', scene.path('qloraruns', 'prose'))
  await until('status says so', async () => {
    const { message = '' } = conditionOf(await scene.get(), 'Ready') ?? {}
    return /is held: .*; run prose is deleted; release writer keeps on the claim .*\(candidate\)/.test(message)
  })
  await scene.apply({ ...checkpoint('Best'), review: { required: true, approvedDigest: b } })
  assert.equal((await scene.untilReady('True/Serving')).status?.active?.digest, b)
})
