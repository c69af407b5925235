import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import { digestOf, release, run } from './objects.ts'
import { World } from './world.ts'

const [a, b, c] = ['a', 'b', 'c'].map(digestOf)
const checkpoint = (name: string, ofRun = 'prose') => ({ source: { run: { name: ofRun, checkpoint: name } } })

async function serving(world = new World()): Promise<World> {
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  return world
}

test('a release serves the best checkpoint once its run has succeeded', async () => {
  const world = new World()
  world.runs = [run({ ended: 'Unknown' })]
  await world.settle()
  assert.equal(world.ready(), 'False/RunNotFinished')
  assert.equal(world.children.size, 0)
  world.runs = [run()]
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.digest, b)
  assert.equal(world.object.status?.active?.name, 'prose/checkpoint-24')
  assert.deepEqual(world.events, ['Normal RunNotFinished', 'Normal Switching', 'Normal Serving'])
})

test('at rest nothing is written', async () => {
  const world = await serving()
  world.effects = 0
  const before = JSON.stringify(world.object)
  await world.settle()
  assert.equal(JSON.stringify(world.object), before)
  assert.equal(world.effects, 1, 'one status write, which the cluster skips because it is equal')
})

test('another checkpoint of the same base is switched in the running pods, and back without gates', async () => {
  const world = await serving()
  const pods = world.pods.map(({ uid }) => uid)
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  assert.equal(world.object.status?.active?.digest, a)
  assert.equal(world.object.status?.previous?.digest, b)
  world.edit({ ...checkpoint('Best'), gates: [{ metric: 'evalLoss', max: '0.1', enforcement: 'Enforce' }] })
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.digest, b)
  assert.deepEqual(
    world.object.status?.history?.map(({ digest }) => digest),
    [b, a],
  )
  assert.deepEqual(
    world.pods.map(({ uid }) => uid),
    pods,
  )
})

test('a rollback to a digest works after its run was deleted, and to the base', async () => {
  const world = await serving()
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  world.runs = []
  world.edit({ source: { digest: b! } })
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.digest, b)
  world.edit({ source: { base: true } })
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.name, 'base')
  assert.equal(world.pods[0]?.state.digest, '')
})

test('Best means what it meant when it was resolved, also when the run is made again', async () => {
  const world = await serving()
  world.runs = [run({ uid: 'again', checkpoints: [{ step: 5, letter: 'c', evalLoss: '1.0', best: true }] })]
  await world.settle()
  assert.equal(world.object.status?.active?.digest, b)
  assert.equal(world.ready(), 'True/Serving')
})

test('a candidate that a gate refuses never reaches the pods; the previous one keeps serving', async () => {
  const world = await serving()
  world.edit({
    ...checkpoint('checkpoint-12'),
    gates: [{ metric: 'evalLoss', maxRegression: '0.05', against: 'Active', enforcement: 'Enforce' }],
  })
  await world.settle()
  assert.equal(world.ready(), 'False/GateFailed')
  assert.equal(world.object.status?.active?.digest, b)
  assert.equal(world.object.status?.candidate?.digest, a)
  assert.equal(world.pods[0]?.state.digest, b)
  assert.ok(world.object.status?.conditions?.some(({ type, status }) => type === 'Stalled' && status === 'True'))
  assert.ok(world.object.status?.conditions?.some(({ type, status }) => type === 'Serving' && status === 'True'))
  world.edit({ gates: [{ metric: 'evalLoss', max: '1.95', enforcement: 'Enforce' }] })
  await world.settle()
  assert.equal(world.object.status?.active?.digest, a)
})

test('a gate that only warns is recorded and does not hold', async () => {
  const world = new World(release({ gates: [{ metric: 'evalLoss', max: '0.1', enforcement: 'Warn' }] }))
  world.full = true
  await world.settle()
  assert.deepEqual(
    world.object.status?.verdict?.gates?.map(({ result }) => result),
    ['Failed'],
  )
  world.full = false
  world.tick()
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
})

test('a candidate that a pod cannot load is refused and the active one comes back under a higher generation', async () => {
  const world = await serving()
  const before = world.object.status?.active?.generation ?? 0
  world.broken.add(a!)
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  assert.equal(world.ready(), 'False/LoadFailed')
  assert.equal(world.object.status?.active?.digest, b)
  assert.ok((world.object.status?.active?.generation ?? 0) > before + 1)
  assert.equal(world.pods[0]?.state.digest, b)
  assert.match(world.object.status?.verdict?.message ?? '', /manifest/)
  world.edit(checkpoint('Best'))
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.candidate, undefined)
})

test('a first candidate that cannot be loaded leaves nothing running and says so', async () => {
  const world = new World()
  world.broken.add(b!)
  await world.settle()
  assert.equal(world.ready(), 'False/LoadFailed')
  assert.equal(
    [...world.children.values()].some(({ kind }) => kind === 'Deployment'),
    false,
  )
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
})

test('with signed calls blocked the pods find desired.json and everything converges', async () => {
  const world = new World()
  world.callsBlocked = true
  await world.settle()
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.digest, a)
})

test('another base gets a Deployment beside the old one; the Service moves when its pods are ready, then the old goes', async () => {
  const world = await serving()
  const old = world.serviceTo()
  world.runs.push(
    run({ name: 'other', model: 'n', checkpoints: [{ step: 9, letter: 'c', evalLoss: '1.7', best: true }] }),
  )
  world.full = true
  world.edit(checkpoint('Best', 'other'))
  await world.settle()
  assert.equal(world.ready(), 'False/NoCapacity')
  assert.equal(world.serviceTo(), old)
  assert.equal(world.object.status?.active?.digest, b)
  assert.equal([...world.children.values()].filter(({ kind }) => kind === 'Deployment').length, 2)
  world.full = false
  world.tick()
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.digest, c)
  assert.notEqual(world.serviceTo(), old)
  assert.equal([...world.children.values()].filter(({ kind }) => kind === 'Deployment').length, 1)
})

test('a change of mind while switching drops the new Deployment at once', async () => {
  const world = await serving()
  world.runs.push(run({ name: 'other', model: 'n', checkpoints: [{ step: 9, letter: 'c', best: true }] }))
  world.full = true
  world.edit(checkpoint('Best', 'other'))
  await world.settle()
  world.edit(checkpoint('Best'))
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal([...world.children.values()].filter(({ kind }) => kind === 'Deployment').length, 1)
})

test('a new trainer image replaces the pods beside the old ones without changing what serves', async () => {
  const world = await serving()
  const old = world.serviceTo()
  Object.assign(world.settings, { trainerImage: 'trainer:2' })
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.notEqual(world.serviceTo(), old)
  assert.deepEqual(
    world.object.status?.history?.map(({ digest }) => digest),
    [b],
  )
})

test('a Service of somebody else is left alone', async () => {
  const world = new World()
  world.foreign.add('writer')
  await world.settle()
  assert.equal(world.ready(), 'False/NameConflict')
  assert.equal(world.serviceTo(), undefined)
})

const lies: Record<string, (state: ServingState) => ServingState | undefined> = {
  'another digest': (state) => ({ ...state, digest: c! }),
  'the base': (state) => ({ ...state, digest: '' }),
  'an older generation': (state) => ({ ...state, generation: Math.max(0, state.generation - 1) }),
  'no generation': (state) => ({ ...state, generation: 0 }),
  'the uid of another pod': (state) => ({ ...state, podUid: 'another' }),
  'that it loaded before its container started': (state) => ({ ...state, loadedTime: '2025-12-31T23:59:59.999Z' }),
  'no time of loading': (state) => ({ ...state, loadedTime: '' }),
  'a generation from nowhere': (state) => ({ ...state, generation: 2 ** 50 }),
  'always one generation more': (state) => ({ ...state, generation: state.generation + 1 }),
  nothing: () => undefined,
  'an empty answer': () => ServingState.fromPartial({}),
  'a failure of an adapter it has loaded': (state) => ({ ...state, digest: c!, failedGeneration: 1, failure: 'no' }),
}
for (const [what, lie] of Object.entries(lies))
  test(`a pod that says ${what} never makes a release Ready`, async () => {
    const world = new World()
    world.lie = lie
    await world.settle()
    assert.notEqual(world.ready(), 'True/Serving')
    assert.equal(world.object.status?.active, undefined)
    if (what.includes('failure')) return
    world.lie = (state) => state
    await world.settle()
    assert.equal(world.ready(), 'True/Serving')
  })

test('a Ready release stops being Ready when a restarted pod says something else', async () => {
  const world = await serving()
  world.lie = (state) => ({ ...state, digest: a! })
  await world.settle()
  assert.equal(world.ready(), 'False/PodsDisagree')
  assert.equal(world.object.status?.conditions?.find(({ type }) => type === 'Serving')?.status, 'False')
})

test('pods that know a higher generation than a restored status are not fought', async () => {
  const world = await serving()
  const status = world.object.status
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  world.edit(checkpoint('Best'))
  await world.settle()
  assert.ok(status)
  world.object = { ...world.object, status }
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.ok((world.object.status?.switchGeneration ?? 0) > 3)
})

/** Everything that may happen to a release, as one story; what it ends in must not depend on where the operator died. */
async function story(dieAt: number): Promise<World> {
  const world = new World()
  world.dieAt = dieAt
  world.runs.push(
    run({ name: 'other', model: 'n', checkpoints: [{ step: 9, letter: 'c', evalLoss: '1.7', best: true }] }),
  )
  await world.settle()
  world.broken.add(a!)
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  world.edit(checkpoint('Best', 'other'))
  await world.settle()
  world.edit({ source: { digest: b! } })
  await world.settle()
  return world
}

const ending = ({ object, children, pods }: World) => ({
  active: object.status?.active?.digest,
  previous: object.status?.previous?.digest,
  history: object.status?.history?.map(({ digest }) => digest),
  ready: object.status?.conditions?.find(({ type }) => type === 'Ready')?.status,
  children: [...children.keys()].sort(),
  loaded: pods.map(({ state }) => state.digest),
})

const faultFree = await story(0)
test('the story ends where it should', () => {
  assert.equal(ending(faultFree).active, b)
  assert.equal(ending(faultFree).ready, 'True')
  assert.deepEqual(ending(faultFree).history, [b, c])
  assert.ok(faultFree.effects > 30, `${faultFree.effects} effects`)
})
for (let effect = 1; effect <= faultFree.effects; effect++)
  test(`a release survives the operator dying after effect ${effect}`, async () => {
    const world = await story(effect)
    assert.ok(world.effects >= effect)
    assert.deepEqual(ending(world), ending(faultFree))
  })
