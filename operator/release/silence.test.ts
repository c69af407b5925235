import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf, release } from './objects.ts'
import { reconcileRelease } from './reconcile.ts'
import { World } from './world.ts'

const [a, b] = ['a', 'b'].map(digestOf) as [string, string]

async function serving(): Promise<World> {
  const world = new World(release({ serving: { port: 8000, replicas: 2 } }))
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  world.pass(1800) // trusted: nothing is watched any more
  await world.settle()
  return world
}

test('a Ready pod that does not answer once leaves everything as it is, and is asked again soon', async () => {
  const world = await serving()
  const before = JSON.stringify(world.object)
  world.lie = (state) => (state.podUid.endsWith('-0') ? undefined : state)
  const outcome = await reconcileRelease(world.object, world, world.now)
  assert.equal(JSON.stringify(world.object), before)
  assert.ok(outcome.kind === 'waiting' && outcome.seconds <= 5)
  assert.equal(world.activated, 2, 'the two calls of the first switch, and none to the silent pod')
  world.lie = (state) => state
  assert.equal((await reconcileRelease(world.object, world, world.now)).kind, 'settled')
})

test('a silent pod that is not Ready, or has restarted, counts as not measured', async () => {
  for (const change of [{ ready: false }, { restarts: 1 }]) {
    const world = await serving()
    world.lie = () => undefined
    world.podsLook = change
    await world.settle()
    assert.notEqual(world.ready(), 'True/Serving')
    assert.equal(world.object.status?.pods?.[0]?.digest, undefined)
  }
})

test('silence is no proof of a switch: a candidate becomes active when every pod has said so', async () => {
  const world = await serving()
  world.lie = (state) => (state.podUid.endsWith('-0') ? undefined : state)
  world.edit({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } } })
  await world.settle()
  assert.equal(world.ready(), 'False/Switching')
  world.lie = (state) => (state.podUid.endsWith('-1') ? undefined : state)
  await world.settle()
  assert.equal(world.ready(), 'False/Switching', 'what the other one said before it fell silent does not count either')
  assert.equal(world.object.status?.active?.digest, b)
  world.lie = (state) => state
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.digest, a)
})

test('a silent pod does not hold up the others in a switch, and is asked once before it is called', async () => {
  const world = await serving()
  world.lie = (state) => (state.podUid.endsWith('-0') ? undefined : state)
  world.edit({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } } })
  world.questions = 0
  await reconcileRelease(world.object, world, world.now)
  assert.equal(world.pods[1]?.state.digest, a)
  assert.equal(world.questions, 2, 'once before the call and once after it')
})

const failures = {
  ArtifactMissing: `adapters/${'a'.repeat(64)} does not exist and no checkpoint is named to promote it from`,
  LoadFailed: 'adapter_model.safetensors has sha256 1; the manifest says 2',
}
for (const [reason, failure] of Object.entries(failures)) {
  test(`a pod that cannot load what is active says ${reason} and why, and tries again`, async () => {
    const world = await serving()
    world.lie = (state) => ({
      ...state,
      digest: '',
      generation: 0,
      loadedTime: '',
      failure,
      failedGeneration: state.generation,
    })
    world.podsLook = { ready: false }
    const outcome = await reconcileRelease(world.object, world, world.now)
    assert.equal(world.ready(), `False/${reason}`)
    assert.deepEqual(outcome, { kind: 'waiting', seconds: 30 })
    const reconciling = world.object.status?.conditions?.find(({ type }) => type === 'Reconciling')
    assert.match(reconciling?.message ?? '', /cannot load prose\/checkpoint-24/)
    assert.ok(reconciling?.message.includes(failure))
    world.lie = (state) => state
    world.podsLook = {}
    await world.settle()
    assert.equal(world.ready(), 'True/Serving')
  })
  test(`a candidate that no pod can load is refused as ${reason}`, async () => {
    const world = await serving()
    world.broken.add(a)
    world.failure = failure
    world.edit({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } } })
    await world.settle()
    assert.equal(world.ready(), `False/${reason}`)
    assert.equal(world.object.status?.active?.digest, b)
  })
}
