/** The release controller on a real API server with real Deployments; the pods are stand-ins that answer signed calls. */
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { type ApiServer, until } from './api-server.ts'
import { digestOf, ReleaseScene } from './release-scene.ts'
import { sharedApiServer } from './shared-api-server.ts'

const [a, b, c] = ['a', 'b', 'c'].map(digestOf) as [string, string, string]

let server: ApiServer
let scene: ReleaseScene

before(async () => {
  server = await sharedApiServer()
})
after(() => server.stop())
beforeEach(async () => {
  scene = await ReleaseScene.begin(server)
})
afterEach(() => scene.end())

test('from a finished run to a serving adapter, a switch and a rollback in the same pods', async () => {
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'Best' } }, serving: { replicas: 2, port: 8000 } })
  await scene.untilReady('False/RunNotFound')
  await scene.finishedRun()
  const first = await scene.untilReady('True/Serving')
  assert.equal(first.status?.active?.name, 'prose/checkpoint-24')
  assert.equal(first.status?.endpoint, `http://writer.${scene.namespace}.svc:8000/v1`)
  assert.equal(first.status?.replicas, 2)
  assert.equal(first.status?.pods?.length, 2)
  const before = scene.pods.uids

  const began = performance.now()
  await scene.apply({
    source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } },
    serving: { replicas: 2, port: 8000 },
  })
  const second = await scene.untilReady('True/Serving')
  const seconds = (performance.now() - began) / 1000
  assert.equal(second.status?.active?.digest, a)
  assert.equal(second.status?.previous?.digest, b)
  assert.deepEqual(scene.pods.digests, [a, a])
  assert.ok(seconds < 5, `the switch took ${seconds.toFixed(1)} s`)

  await scene.client.request('DELETE', scene.path('qloraruns', 'prose'))
  await scene.apply({ source: { digest: b }, serving: { replicas: 2, port: 8000 } })
  await scene.untilReady('True/Serving')
  assert.deepEqual(scene.pods.digests, [b, b])
  await scene.apply({ source: { base: true }, serving: { replicas: 2, port: 8000 } })
  assert.equal((await scene.untilReady('True/Serving')).status?.active?.name, 'base')
  assert.deepEqual(scene.pods.digests, ['', ''])
  assert.deepEqual(scene.pods.uids, before)
})

test('a candidate that no pod can load is refused and the previous one serves on', async () => {
  await scene.finishedRun()
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  await scene.untilReady('True/Serving')
  scene.pods.broken.add(a)
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } } })
  const { status } = await scene.untilReady('False/LoadFailed')
  assert.equal(status?.active?.digest, b)
  assert.equal(status?.candidate?.digest, a)
  assert.match(
    status?.conditions?.find(({ type }) => type === 'Stalled')?.message ?? '',
    /differs from its manifest.*serves/,
  )
  assert.deepEqual(scene.pods.digests, [b])
})

test('a gate holds the candidate back, and an Event says so', async () => {
  await scene.finishedRun()
  await scene.apply({
    source: { run: { name: 'prose', checkpoint: 'Best' } },
    gates: [{ metric: 'evalLoss', max: '1.5', enforcement: 'Enforce' }],
  })
  await scene.untilReady('False/GateFailed')
  assert.equal((await scene.deployments()).length, 0)
  await until('the Event', async () =>
    (await scene.list('/api/v1', 'events')).some(({ reason, type }) => reason === 'GateFailed' && type === 'Warning'),
  )
})

test('with every signed call blocked it converges by desired.json', async () => {
  scene.pods.callsBlocked = true
  await scene.finishedRun()
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  await scene.untilReady('True/Serving', { limitSeconds: 90 })
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } } })
  await scene.untilReady('True/Serving', { limitSeconds: 90 })
  assert.deepEqual(scene.pods.digests, [a])
})

test('a pod that lies never makes the release Ready, and the truth does', async () => {
  scene.pods.lie = (state) => ({ ...state, digest: c })
  await scene.finishedRun()
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  const { status } = await scene.untilReady('False/PodsDisagree')
  assert.equal(status?.active, undefined)
  scene.pods.lie = (state) => state
  await scene.untilReady('True/Serving')
})

test('another base model comes up beside the old one, then the old one goes', async () => {
  await scene.finishedRun()
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  await scene.untilReady('True/Serving')
  const [old] = await scene.deployments()
  await scene.finishedRun({ name: 'verse', letters: ['c'], model: 'n' })
  await scene.apply({ source: { run: { name: 'verse', checkpoint: 'Best' } } })
  const { status } = await scene.untilReady('True/Serving')
  assert.equal(status?.active?.digest, c)
  await until('the old Deployment is gone', async () => {
    const now = await scene.deployments()
    return now.length === 1 && now[0]?.metadata.uid !== old?.metadata.uid
  })
})

test('by steps a candidate gets its share in every pod, and what fails its requests ends it', async () => {
  const steps = (...percents: number[]) => ({ steps: percents.map((percent) => ({ percent, pauseSeconds: 2 })) })
  const serving = { replicas: 2, port: 8000 }
  const spec = (checkpoint: string, strategy = steps(10, 50)) => ({
    source: { run: { name: 'prose', checkpoint } },
    serving,
    strategy,
    rollback: { maxErrorPercent: '5' } as never,
  })
  await scene.finishedRun({ letters: ['a', 'b', 'c'] })
  await scene.apply(spec('checkpoint-12'))
  await scene.untilReady('True/Serving')
  await scene.apply(spec('checkpoint-24'))
  for (const percent of [10, 50])
    await until(`every pod gives ${percent} % to the candidate`, async () => {
      const { status } = await scene.get()
      return status?.step?.percent === percent && scene.pods.splits.every((each) => each === `${a} ${percent} % ${b}`)
    })
  const { status } = await scene.untilReady('True/Serving')
  assert.deepEqual([status?.active?.digest, status?.previous?.digest, status?.step], [b, a, undefined])

  const health = { windowSeconds: 60, requests: 20, errors: 0, firstTokenP95Seconds: 0.1 }
  scene.pods.lie = (state) =>
    state.splitPercent > 0 ? { ...state, health, splitHealth: { ...health, errors: 3 } } : { ...state, health }
  await scene.apply(spec('checkpoint-36', { steps: [{ percent: 10, pauseSeconds: 600 }] }))
  const refused = await scene.untilReady('False/TooManyErrors')
  // the verdict falls as soon as one pod has told: the other may not have
  assert.match(refused.status?.verdict?.message ?? '', /^(3 of 20|6 of 40) requests of the last minute failed/)
  assert.deepEqual([refused.status?.active?.digest, refused.status?.candidate?.digest], [b, c])
  await until('no pod gives it any more', async () => scene.pods.splits.every((each) => each === `${b} 0 % `))
  await assert.rejects(scene.apply(spec('checkpoint-36', steps(50, 10))), /expected percent never to go down/)
  await assert.rejects(scene.apply(spec('checkpoint-36', steps(100))), /percent/)
})

test('a Service of somebody else is not touched', async () => {
  await scene.client.request('POST', `/api/v1/namespaces/${scene.namespace}/services`, {
    body: { apiVersion: 'v1', kind: 'Service', metadata: { name: 'writer' }, spec: { ports: [{ port: 1 }] } },
  })
  await scene.finishedRun()
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  await scene.untilReady('False/NameConflict')
  const [service] = (await scene.list('/api/v1', 'services')).filter(({ metadata }) => metadata.name === 'writer')
  assert.deepEqual(service?.metadata.labels, undefined)
})

test('the operator writes nothing of the object but its status', async () => {
  await scene.finishedRun()
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  const { metadata } = await scene.untilReady('True/Serving')
  const fields = (metadata as unknown as { managedFields: { manager: string; subresource?: string }[] }).managedFields
  assert.deepEqual(fields.map(({ manager, subresource = 'spec' }) => `${manager} ${subresource}`).sort(), [
    'humanizer status',
    'test spec',
  ])
})

test('at rest the operator writes nothing', async () => {
  await scene.finishedRun()
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  await scene.untilReady('True/Serving')
  await new Promise((resolve) => setTimeout(resolve, 2000))
  const before = await scene.versions()
  await scene.stopOperator()
  await scene.startOperator()
  await new Promise((resolve) => setTimeout(resolve, 4000))
  assert.deepEqual(await scene.versions(), before)
})

test('deleting the release leaves nothing behind but the claim', async () => {
  await scene.finishedRun()
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  await scene.untilReady('True/Serving')
  await scene.client.request('DELETE', scene.path('adapterreleases', 'writer'))
  await until(
    'all children are gone',
    async () => {
      const lists = [
        await scene.deployments(),
        await scene.list('/api/v1', 'pods'),
        await scene.list('/api/v1', 'services'),
        await scene.list('/apis/networking.k8s.io/v1', 'networkpolicies'),
        (await scene.list('/api/v1', 'configmaps')).filter(
          ({ metadata }) => metadata.labels?.['humanizer.dev/release'],
        ),
      ]
      return lists.every((each) => each.length === 0)
    },
    90,
  )
  assert.equal((await scene.list('/api/v1', 'persistentvolumeclaims')).length, 1)
})
