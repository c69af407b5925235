import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AdapterReleaseSpec } from '../api/generated/adapterrelease.ts'
import { digestOf, release, run } from './objects.ts'
import { World } from './world.ts'

const [a, b] = ['a', 'b'].map(digestOf) as [string, string]
const checkpoint = (name: string, ofRun = 'prose') => ({ source: { run: { name: ofRun, checkpoint: name } } })
const strategy = {
  steps: [
    { percent: 10, pauseSeconds: 60 },
    { percent: 50, pauseSeconds: 120 },
  ],
}

/** checkpoint-24 serves on two pods. */
async function serving(spec: Partial<AdapterReleaseSpec> = {}): Promise<World> {
  const world = new World(release({ serving: { port: 8000, replicas: 2 }, strategy, ...spec }))
  await world.settle()
  assert.deepEqual([world.ready(), world.object.status?.step], ['True/Serving', undefined], 'nothing served before it')
  world.events.length = 0
  return world
}

const splits = ({ pods }: World) => pods.map(({ state }) => [state.digest, state.splitDigest, state.splitPercent])
const messageOf = ({ object }: World) => object.status?.conditions?.find(({ type }) => type === 'Ready')?.message ?? ''

test('a candidate gets its shares one after another, each for its time, and then everything', async () => {
  const world = await serving()
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  assert.equal(world.ready(), 'False/Stepping')
  assert.match(
    messageOf(world),
    /^step 1 of 2: 10 % of the requests go to prose\/checkpoint-12 .*, the others to prose\/checkpoint-24/,
  )
  assert.deepEqual(splits(world), [
    [b, a, 10],
    [b, a, 10],
  ])
  const { step, verdict, active } = world.object.status ?? {}
  assert.deepEqual([step?.number, step?.of, step?.percent, verdict?.state, active?.digest], [1, 2, 10, 'Stepping', b])
  assert.equal(world.object.status?.conditions?.find(({ type }) => type === 'Serving')?.status, 'True')
  world.pass(59)
  await world.settle()
  assert.equal(world.object.status?.step?.number, 1)
  world.pass(1)
  await world.settle()
  assert.deepEqual(splits(world)[1], [b, a, 50])
  assert.match(messageOf(world), /^step 2 of 2: 50 %/)
  world.pass(120)
  await world.settle()
  assert.deepEqual(splits(world), [
    [a, '', 0],
    [a, '', 0],
  ])
  assert.deepEqual(
    [
      world.ready(),
      world.object.status?.active?.digest,
      world.object.status?.previous?.digest,
      world.object.status?.step,
    ],
    ['True/Serving', a, b, undefined],
  )
  assert.deepEqual(world.events, [
    'Normal Stepping',
    'Normal Stepping',
    'Normal Stepping',
    'Normal Switching',
    'Normal Serving',
  ])
})

const health = { windowSeconds: 60, requests: 15, errors: 0, firstTokenP95Seconds: 0.2 }
const regressions = {
  'fails requests': {
    rollback: { maxErrorPercent: '5' },
    splitHealth: { ...health, errors: 3 },
    says: /^TooManyErrors: prose\/checkpoint-12 .* was refused: 6 of 30 requests of the last minute failed, expected at most 5 %/,
  },
  'is slow': {
    rollback: { maxFirstTokenSeconds: '1' },
    splitHealth: { ...health, requests: 40, firstTokenP95Seconds: 3 },
    says: /^TooSlow: .* 95 % of 40 requests had their first token within 3\.00 s, expected 1 s/,
  },
}
for (const [what, { rollback, splitHealth, says }] of Object.entries(regressions))
  test(`a candidate that ${what} in a step is refused and takes no more requests, though what serves is well`, async () => {
    const defaults = release().spec.rollback
    const world = await serving({ rollback: { ...defaults, ...rollback } })
    world.edit(checkpoint('checkpoint-12'))
    await world.settle()
    world.lie = (state) => ({ ...state, health, ...(state.splitPercent > 0 && { splitHealth }) })
    await world.settle()
    const ready = world.object.status?.conditions?.find(({ type }) => type === 'Ready')
    assert.match(`${ready?.reason}: ${ready?.message}`, says)
    assert.deepEqual([world.object.status?.verdict?.state, world.object.status?.active?.digest], ['Refused', b])
    assert.deepEqual(splits(world), [
      [b, '', 0],
      [b, '', 0],
    ])
    world.pass(600)
    await world.settle()
    assert.equal(world.object.status?.verdict?.state, 'Refused', 'until the spec changes')
  })

test('what serves may fail requests while a candidate is in a step: that is not held against the candidate', async () => {
  const world = await serving({ rollback: { ...release().spec.rollback, maxErrorPercent: '5' } })
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  world.lie = (state) => ({ ...state, health: { ...health, errors: 15 }, splitHealth: health })
  await world.settle()
  assert.equal(world.object.status?.verdict?.state, 'Stepping')
})

test('a candidate that pods cannot load is refused in its first step', async () => {
  const world = await serving()
  world.broken.add(a)
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  assert.equal(world.ready(), 'False/LoadFailed')
  assert.deepEqual(splits(world)[0], [b, '', 0])
})

const changesOfMind: Record<string, (world: World) => void> = {
  'asks for what serves': (world) => world.edit(checkpoint('Best')),
  'rejects the candidate': (world) => world.edit({ review: { required: false, rejectedDigest: a } }),
  'only tries': (world) => world.edit({ dryRun: true }),
}
for (const [what, edit] of Object.entries(changesOfMind))
  test(`a spec that ${what} in the middle of a step ends it`, async () => {
    const world = await serving()
    world.edit(checkpoint('checkpoint-12'))
    await world.settle()
    assert.equal(world.object.status?.step?.number, 1)
    edit(world)
    await world.settle()
    assert.equal(world.object.status?.step, undefined)
    assert.deepEqual(splits(world), [
      [b, '', 0],
      [b, '', 0],
    ])
    assert.equal(world.object.status?.active?.digest, b)
  })

test('a rejection of what serves in the middle of a step gives every request to the candidate at once', async () => {
  const world = await serving()
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  assert.equal(world.object.status?.step?.number, 1)
  world.edit({ review: { required: false, rejectedDigest: b } })
  await world.settle()
  assert.deepEqual([world.ready(), world.object.status?.step], ['True/Serving', undefined])
  assert.deepEqual(splits(world), [
    [a, '', 0],
    [a, '', 0],
  ])
})

test('a rollback, and another base, take no steps', async () => {
  const world = await serving()
  world.edit({ ...checkpoint('checkpoint-12'), strategy: { steps: [{ percent: 5, pauseSeconds: 1 }] } })
  await world.settle()
  world.pass(1)
  await world.settle()
  assert.equal(world.object.status?.active?.digest, a)
  world.edit(checkpoint('Best'))
  await world.settle()
  assert.deepEqual([world.ready(), world.object.status?.active?.digest], ['True/Serving', b])
  world.runs.push(run({ name: 'verse', model: 'n', checkpoints: [{ step: 9, letter: 'c', best: true }] }))
  world.edit(checkpoint('Best', 'verse'))
  await world.settle()
  assert.deepEqual([world.ready(), world.object.status?.active?.name], ['True/Serving', 'verse/checkpoint-9'])
})

test('a pod that says another split than it was told is not believed', async () => {
  const world = await serving()
  world.edit(checkpoint('checkpoint-12'))
  world.lie = (state) => (state.splitPercent > 0 ? { ...state, splitPercent: 90 } : state)
  await world.settle()
  assert.equal(world.ready(), 'False/PodsDisagree')
  assert.match(messageOf(world), /with 90 % to sha256:aaaa/)
})

/** Two steps, then a candidate that is refused in its step. */
async function story(dieAt: number): Promise<World> {
  const world = await serving()
  world.runs.push(run({ name: 'verse', checkpoints: [{ step: 9, letter: 'c', best: true }] }))
  world.effects = 0
  world.dieAt = dieAt
  world.edit(checkpoint('checkpoint-12'))
  for (let minutes = 0; minutes < 6; minutes++) {
    await world.settle()
    world.pass(60)
  }
  world.broken.add(digestOf('c'))
  world.edit(checkpoint('Best', 'verse'))
  await world.settle()
  return world
}

const ending = (world: World) => ({
  ready: world.ready(),
  splits: splits(world),
  history: world.object.status?.history?.map(({ digest }) => digest),
  step: world.object.status?.step,
})
const faultFree = await story(0)
test('the steps end where they should', () => {
  assert.deepEqual(ending(faultFree), {
    ready: 'False/LoadFailed',
    splits: [
      [a, '', 0],
      [a, '', 0],
    ],
    history: [a, b],
    step: undefined,
  })
})
for (let effect = 1; effect <= faultFree.effects; effect++)
  test(`steps survive the operator dying after effect ${effect}`, async () => {
    const world = await story(effect)
    assert.ok(world.effects >= effect)
    assert.deepEqual(ending(world), ending(faultFree))
  })
