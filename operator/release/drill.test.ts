import assert from 'node:assert/strict'
import { test } from 'node:test'
import { drillAnnotation } from './drill.ts'
import { digestOf, release, run } from './objects.ts'
import { World } from './world.ts'

const [a, b] = ['a', 'b'].map(digestOf) as [string, string]
const checkpoint = (name: string, ofRun = 'prose') => ({ source: { run: { name: ofRun, checkpoint: name } } })

/** checkpoint-12 serves, checkpoint-24 did before, on two pods. */
async function serving(world = new World(release({ serving: { port: 8000, replicas: 2 } }))): Promise<World> {
  await world.settle()
  world.edit({ ...checkpoint('checkpoint-12') })
  await world.settle()
  assert.deepEqual([world.ready(), world.object.status?.previous?.digest], ['True/Serving', b])
  world.events.length = 0
  return world
}

function request(world: World, value: string): void {
  const { metadata } = world.object
  world.object = { ...world.object, metadata: { ...metadata, annotations: { [drillAnnotation]: value } } }
}

const drillOf = ({ object }: World) => object.status?.drill

test('a drill goes to what served before and comes back, says how long it took and what was answered', async () => {
  const world = await serving()
  const { active, previous, history, switchGeneration = 0 } = world.object.status ?? {}
  request(world, 'monday')
  await world.settle()
  const { startedTime: _, ...drill } = drillOf(world)!
  assert.deepEqual(drill, {
    requestedAt: 'monday',
    state: 'Passed',
    from: a,
    to: b,
    secondsThere: '0.70',
    secondsBack: '0.70',
    answered: 12,
    lost: 0,
    message: 'there in 0.70 s, back in 0.70 s; 12 requests answered, none lost',
  })
  assert.equal(world.ready(), 'True/Serving')
  assert.deepEqual(world.events, ['Normal Drilling', 'Normal DrillPassed'])
  const after = world.object.status
  assert.deepEqual([after?.active?.digest, after?.previous, after?.history], [active?.digest, previous, history])
  assert.equal(after?.switchGeneration, switchGeneration + 2)
  assert.deepEqual(
    world.pods.map(({ state }) => state.digest),
    [a, a],
  )
  const effects = world.effects
  await world.settle()
  assert.equal(world.effects, effects + 1, 'the same value asks for no second drill')
  request(world, 'tuesday')
  await world.settle()
  assert.deepEqual([drillOf(world)?.requestedAt, drillOf(world)?.state], ['tuesday', 'Passed'])
})

test('a drill without signed calls goes by desired.json', async () => {
  const world = await serving()
  world.callsBlocked = true
  request(world, 'monday')
  await world.settle()
  assert.equal(drillOf(world)?.state, 'Passed')
})

const refusals: {
  readonly when: string
  readonly arrange: (world: World) => Promise<void> | void
  readonly says: RegExp
}[] = [
  {
    when: 'a pod does not answer',
    arrange: (world) => {
      world.lie = () => undefined
    },
    says: /^pod writer-serve-\w+-0 does not answer$/,
  },
  {
    when: 'the release is not Ready',
    arrange: (world) => world.edit(checkpoint('Best', 'verse')),
    says: /^the release is not Ready: RunNotFound: spec.source.run.name: run verse/,
  },
  {
    when: 'a rollout is going on',
    arrange: (world) => {
      world.runs.push(run({ name: 'verse', model: 'n', checkpoints: [{ step: 9, letter: 'c', best: true }] }))
      world.full = true
      world.edit(checkpoint('Best', 'verse'))
    },
    says: /^a rollout is going on: 0\/1 nodes have room$/,
  },
  {
    when: 'what served before is rejected',
    arrange: (world) => world.edit({ review: { required: false, rejectedDigest: b } }),
    says: /^spec\.review\.rejectedDigest is that of prose\/checkpoint-24/,
  },
  {
    when: 'what served before sits on another base',
    arrange: async (world) => {
      world.runs.push(run({ name: 'verse', model: 'n', checkpoints: [{ step: 9, letter: 'c', best: true }] }))
      world.edit(checkpoint('Best', 'verse'))
      await world.settle()
    },
    says: /^prose\/checkpoint-12 .* sits on another base, so going back takes new pods/,
  },
]
for (const { when, arrange, says } of refusals)
  test(`a drill is refused with words when ${when}, and nothing is switched`, async () => {
    const world = await serving()
    await arrange(world)
    const before = world.pods.map(({ state }) => state.digest)
    request(world, 'monday')
    await world.settle()
    assert.deepEqual([drillOf(world)?.state, drillOf(world)?.requestedAt], ['Refused', 'monday'])
    assert.match(drillOf(world)?.message ?? '', says)
    assert.ok(world.events.includes('Warning DrillRefused'))
    assert.deepEqual(
      world.pods.filter(({ state }) => state.generation > 0).map(({ state }) => state.digest),
      before,
    )
  })

test('a drill is refused when nothing served before', async () => {
  const world = new World()
  await world.settle()
  request(world, 'monday')
  await world.settle()
  assert.deepEqual(
    [drillOf(world)?.state, drillOf(world)?.message],
    ['Refused', 'nothing served before what serves now, so there is nothing to go back to'],
  )
})

test('a pod that cannot load what served before fails the drill, and what serves comes back', async () => {
  const world = await serving()
  world.broken.add(b)
  request(world, 'monday')
  await world.settle()
  assert.equal(drillOf(world)?.state, 'Failed')
  assert.match(drillOf(world)?.message ?? '', /cannot load prose\/checkpoint-24 .*differs from its manifest/)
  assert.equal(drillOf(world)?.secondsThere, undefined)
  assert.equal(world.ready(), 'True/Serving')
  assert.ok(world.events.includes('Warning DrillFailed'))
  assert.deepEqual(
    world.pods.map(({ state }) => state.digest),
    [a, a],
  )
})

test('a lost request fails the drill', async () => {
  const world = await serving()
  world.lostProbes = 1
  request(world, 'monday')
  await world.settle()
  const { state, lost, message } = drillOf(world)!
  assert.deepEqual([state, lost, message], ['Failed', 2, '2 requests were lost'])
})

test('a request of a user that a pod counts as lost fails the drill', async () => {
  const world = await serving()
  world.lie = (state) => ({ ...state, lostRequests: state.digest === b ? 1 : world.events.length > 0 ? 1 : 0 })
  request(world, 'monday')
  await world.settle()
  assert.deepEqual([drillOf(world)?.state, drillOf(world)?.lost], ['Failed', 2])
})

test('a pod that starts again meanwhile fails the drill: its requests are not known', async () => {
  const world = await serving()
  for (const pod of world.pods) pod.answered = 40
  request(world, 'monday')
  world.lie = (state) => ({ ...state, answeredRequests: state.digest === b ? 40 : world.events.length > 0 ? 0 : 40 })
  await world.settle()
  assert.equal(drillOf(world)?.state, 'Failed')
  assert.match(drillOf(world)?.message ?? '', /has started again or does not answer/)
})

test('a pod that never gets there makes the drill go back after a minute', async () => {
  const world = await serving()
  request(world, 'monday')
  world.lie = (state) => (state.digest === b ? undefined : state)
  await world.settle()
  assert.deepEqual([world.ready(), drillOf(world)?.state], ['False/Drilling', 'There'])
  assert.equal(world.object.status?.conditions?.find(({ type }) => type === 'Serving')?.status, 'False')
  world.pass(61)
  await world.settle()
  assert.equal(drillOf(world)?.state, 'Failed')
  assert.match(drillOf(world)?.message ?? '', /^not there after 60 s: 0 of 2 pods/)
  assert.equal(world.ready(), 'True/Serving')
})

/** What served before does not get through to the pods; the spec changes meanwhile. */
async function interrupted(edit: (world: World) => void): Promise<World> {
  const world = await serving()
  request(world, 'monday')
  world.lie = (state) => (state.digest === b ? undefined : state)
  await world.settle()
  assert.equal(drillOf(world)?.state, 'There')
  world.lie = (state) => state
  edit(world)
  await world.settle()
  assert.equal(drillOf(world)?.state, 'Failed')
  return world
}

test('a spec that asks for something else ends the drill, and is what counts', async () => {
  const world = await interrupted((each) => each.edit({ source: { base: true } }))
  assert.deepEqual([world.ready(), world.object.status?.active?.name], ['True/Serving', 'base'])
  assert.equal(drillOf(world)?.message, 'spec.source was changed meanwhile')
  assert.deepEqual(
    world.pods.map(({ state }) => state.digest),
    ['', ''],
  )
})

test('a rejection of what the drill went to ends it', async () => {
  const world = await interrupted((each) => each.edit({ review: { required: false, rejectedDigest: b } }))
  assert.deepEqual([world.ready(), world.object.status?.active?.digest], ['True/Serving', a])
  assert.match(drillOf(world)?.message ?? '', /^spec\.review\.rejectedDigest became that of prose\/checkpoint-24/)
})

/** A drill that passes and one that fails; what they end in must not depend on where the operator died. */
async function story(dieAt: number): Promise<World> {
  const world = await serving()
  world.effects = 0
  world.dieAt = dieAt
  request(world, 'monday')
  await world.settle()
  request(world, 'tuesday')
  world.broken.add(b)
  await world.settle()
  return world
}

const ending = ({ object: { status }, pods }: World) => ({
  drill: [status?.drill?.requestedAt, status?.drill?.state],
  active: status?.active?.digest,
  previous: status?.previous?.digest,
  history: status?.history?.map(({ digest }) => digest),
  ready: status?.conditions?.find(({ type }) => type === 'Ready')?.status,
  loaded: pods.map(({ state }) => state.digest),
})

const faultFree = await story(0)
test('two drills end where they should', () => {
  assert.deepEqual(ending(faultFree), {
    drill: ['tuesday', 'Failed'],
    active: a,
    previous: b,
    history: [a, b],
    ready: 'True',
    loaded: [a, a],
  })
})
for (let effect = 1; effect <= faultFree.effects; effect++)
  test(`drills survive the operator dying after effect ${effect}`, async () => {
    const world = await story(effect)
    assert.ok(world.effects >= effect)
    assert.deepEqual(ending(world), ending(faultFree))
  })
