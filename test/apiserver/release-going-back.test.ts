/** On a real API server, a release that does harm goes back by itself, and pods that start again or move are noticed. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { AdapterRelease } from '../../operator/api/generated/adapterrelease.ts'
import { type ApiServer, until } from './api-server.ts'
import { conditionOf, digestOf, ReleaseScene, readyOf } from './release-scene.ts'
import { sharedApiServer } from './shared-api-server.ts'

const [a, b] = ['a', 'b'].map(digestOf) as [string, string]
let server: ApiServer
let scene: ReleaseScene

before(async () => {
  server = await sharedApiServer()
  scene = await ReleaseScene.begin(server)
})
after(async () => {
  await scene?.end()
  await server.stop()
})

test('failing requests bring back what served before within seconds; the spec stays, and so does the verdict', async () => {
  await scene.finishedRun()
  const spec = (checkpoint: string) => ({
    source: { run: { name: 'prose', checkpoint } },
    serving: { replicas: 2, port: 8000 },
    rollback: { windowSeconds: 600, maxErrorPercent: '5' } as never,
  })
  await scene.apply(spec('Best'))
  await scene.untilReady('True/Serving')
  const asked = await scene.apply(spec('checkpoint-12'))
  const released = await scene.untilReady('True/Serving')
  assert.equal(released.status?.watch?.digest, a)
  assert.equal(asked.spec.rollback.mode, 'Automatic', 'the default')

  const health = { windowSeconds: 60, requests: 15, errors: 1, firstTokenP95Seconds: 0.1 }
  scene.pods.lie = (state) => (state.digest === a ? { ...state, health } : state)
  const began = performance.now()
  const back = await scene.untilReady('False/RolledBack')
  const seconds = (performance.now() - began) / 1000
  console.log(`rolled back ${seconds.toFixed(1)} s after the first failures`)
  assert.ok(seconds < 10, `it took ${seconds.toFixed(1)} s`)
  assert.deepEqual(scene.pods.digests, [b, b])
  assert.equal(back.status?.active?.digest, b)
  assert.equal(conditionOf(back, 'Serving')?.status, 'True')
  assert.match(
    conditionOf(back, 'Stalled')?.message ?? '',
    /checkpoint-12 .* was rolled back: TooManyErrors: 2 of 30 requests/,
  )
  assert.deepEqual(back.spec, asked.spec)
  assert.equal(back.metadata.generation, asked.metadata.generation)
  assert.match(
    back.status?.history?.find(({ digest }) => digest === a)?.leftBecause ?? '',
    /^rolled back, TooManyErrors/,
  )

  const before = await scene.versions()
  await scene.stopOperator()
  await scene.startOperator()
  await new Promise((resolve) => setTimeout(resolve, 6000))
  assert.deepEqual(await scene.versions(), before, 'nothing flaps, also after a restart of the operator')

  scene.pods.lie = (state) => state
  await scene.apply(spec('Best'))
  const agreed = await scene.untilReady('True/Serving')
  assert.equal(agreed.status?.verdict, undefined)
})

/** What docs/releases.md promises. */
const noticedSeconds = 10

/** Waits until status says so, and holds the time since `happens` to what is promised. */
async function noticed(what: string, happens: () => unknown, seen: (release: AdapterRelease) => boolean) {
  const began = performance.now()
  await happens()
  let release: AdapterRelease | undefined
  await until(what, async () => {
    release = await scene.get('moved')
    return seen(release)
  })
  const seconds = (performance.now() - began) / 1000
  console.log(`${what}: noticed after ${seconds.toFixed(1)} s`)
  assert.ok(seconds < noticedSeconds, `${what}: noticed after ${seconds.toFixed(1)} s`)
  return release!
}

test('a container that starts again and a pod that moves are noticed within ten seconds', async () => {
  await scene.apply({ source: { digest: b }, serving: { replicas: 2, port: 8000 } }, 'moved')
  const { status } = await scene.untilReady('True/Serving', { name: 'moved' })
  const [one, two] = status?.pods ?? []
  const again = await noticed(
    'every container has started again and loaded what it had',
    () => {
      scene.pods.restarts = 1
    },
    (release) => release.status?.pods?.every(({ restarts, digest }) => restarts === 1 && digest === b) ?? false,
  )
  const loaded = again.status?.pods?.map(({ loadedTime = '' }) => loadedTime)
  assert.ok(
    loaded?.every((time, index) => time > (status?.pods?.[index]?.loadedTime ?? '')),
    `${loaded}`,
  )
  await scene.untilReady('True/Serving', { name: 'moved' })

  await noticed(
    'every container has started again, without the adapter',
    () => {
      scene.pods.lies.set('moved', (state) => ({ ...state, digest: '' }))
      scene.pods.restarts = 2
    },
    (release) =>
      readyOf(release) === 'False/PodsDisagree' && release.status?.pods?.every(({ digest }) => digest !== b) === true,
  )
  scene.pods.lies.delete('moved')
  await scene.untilReady('True/Serving', { name: 'moved' })

  const moved = await noticed(
    'a pod is another one',
    () => scene.client.request('DELETE', `/api/v1/namespaces/${scene.namespace}/pods/${one?.name}`),
    ({ status }) =>
      status?.pods?.length === 2 && status.pods.every(({ uid, digest }) => uid !== one?.uid && digest === b),
  )
  assert.ok(moved.status?.pods?.some(({ uid }) => uid === two?.uid))
  assert.equal((await scene.untilReady('True/Serving', { name: 'moved' })).status?.active?.digest, b)
})
