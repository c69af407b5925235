/** What happens when something that was just released does harm. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ServingHealth, ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import type { AdapterReleaseSpec } from '../api/generated/adapterrelease.ts'
import { digestOf, release, run } from './objects.ts'
import { reconcileRelease } from './reconcile.ts'
import { World } from './world.ts'

const [a, b] = ['a', 'b'].map(digestOf) as [string, string]
const checkpoint = (name: string) => ({ source: { run: { name: 'prose', checkpoint: name } } })
const rollback = (changes: Partial<AdapterReleaseSpec['rollback']> = {}) => ({
  rollback: { ...release().spec.rollback, ...changes },
})
const limits = { maxErrorPercent: '5', maxFirstTokenSeconds: '2' }

const watched = (world: World): string | undefined => world.object.status?.watch?.digest

/** b served long enough to be trusted; then a was released, and every pod has it. */
async function released(spec: Partial<AdapterReleaseSpec> = rollback(limits)): Promise<World> {
  const world = new World(release({ ...spec, serving: { port: 8000, replicas: 2 } }))
  await world.settle()
  world.pass(1800)
  await world.settle()
  assert.equal(watched(world), undefined, 'trusted')
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.digest, a)
  assert.equal(watched(world), a)
  return world
}

const health = (world: World, changes: Partial<ServingHealth>, of = a) => {
  const measured = { windowSeconds: 60, requests: 100, errors: 0, firstTokenP95Seconds: 0.1, ...changes }
  world.lie = (state: ServingState) => (state.digest === of ? { ...state, health: measured } : state)
}

async function hasGoneBack(world: World, reason: string, to = b): Promise<void> {
  const { spec } = world.object
  await world.settle()
  assert.equal(world.ready(), 'False/RolledBack')
  const { status } = world.object
  assert.equal(status?.active?.digest, to)
  assert.equal(status?.candidate?.digest, a)
  assert.equal(status?.verdict?.state, 'RolledBack')
  assert.match(status?.verdict?.message ?? '', new RegExp(`^${reason}: `))
  assert.ok(world.pods.every(({ state }) => state.digest === to))
  assert.deepEqual(world.object.spec, spec, 'the spec is as Git left it')
  assert.ok(
    status?.conditions?.some(({ type }) => type === 'Stalled'),
    'Argo CD shows Degraded',
  )
  assert.equal(status?.conditions?.find(({ type }) => type === 'Serving')?.status, 'True')
  const left = status?.history?.find(({ digest }) => digest === a)
  assert.match(left?.leftBecause ?? '', new RegExp(`^rolled back, ${reason}: `))
  assert.equal(left?.regressed, true)
}

const regressions: Record<string, (world: World) => void> = {
  TooManyErrors: (world) => health(world, { errors: 6 }),
  TooSlow: (world) => health(world, { firstTokenP95Seconds: 2.1 }),
  CrashLooping: (world) => {
    world.podsLook = { restarts: 3 }
  },
  LoadFailed: (world) => {
    world.lie = (state) =>
      state.digest === a ? { ...state, failure: 'bytes differ', failedGeneration: state.generation } : state
  },
}
for (const [reason, happens] of Object.entries(regressions)) {
  test(`${reason} after a release goes back to what served before, once, until the spec changes`, async () => {
    const world = await released()
    happens(world)
    await hasGoneBack(world, reason)
    const { generation } = world.object.status?.active ?? {}
    for (let minute = 0; minute < 60; minute += 10) {
      world.pass(600)
      await world.settle()
      assert.equal(world.ready(), 'False/RolledBack')
    }
    assert.equal(world.object.status?.active?.generation, generation, 'nothing flaps')
    world.lie = (state) => state
    world.podsLook = {}
    world.edit(checkpoint('Best'))
    await world.settle()
    assert.equal(world.ready(), 'True/Serving')
    assert.equal(world.object.status?.verdict, undefined)
    assert.equal(world.object.status?.active?.digest, b)
  })

  test(`${reason} is only told where rollback.mode is Manual`, async () => {
    const world = await released(rollback({ ...limits, mode: 'Manual' }))
    happens(world)
    await world.settle()
    assert.equal(world.object.status?.active?.digest, a)
    assert.equal(world.object.status?.verdict?.reason, reason)
    world.lie = (state) => state
    world.podsLook = {}
    await world.settle()
    assert.equal(world.ready(), 'False/Regressed', 'it stands until the spec changes')
    world.edit(rollback(limits))
    await world.settle()
    assert.equal(world.ready(), 'True/Serving')
  })
}

const harmless: Record<string, (world: World) => void> = {
  'errors within the limit': (world) => health(world, { errors: 5 }),
  'too few requests': (world) => health(world, { requests: 9, errors: 9, firstTokenP95Seconds: 9 }),
  'errors of another adapter': (world) => health(world, { errors: 50 }, b),
  'two restarts': (world) => {
    world.podsLook = { restarts: 2 }
  },
  'a number that is none': (world) => health(world, { errors: Number.NaN, firstTokenP95Seconds: Number.NaN }),
}
for (const [what, happens] of Object.entries(harmless))
  test(`${what} is no regression`, async () => {
    const world = await released()
    happens(world)
    await world.settle()
    assert.equal(world.object.status?.active?.digest, a)
    assert.equal(world.object.status?.verdict, undefined)
  })

test('restarts from before the release do not count', async () => {
  const world = new World(release(rollback()))
  await world.settle()
  world.pass(1800)
  await world.settle()
  world.podsLook = { restarts: 7 }
  await world.settle()
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.deepEqual(world.object.status?.watch?.restarts, [{ uid: world.pods[0]?.uid, count: 7 }])
  world.podsLook = { restarts: 10 }
  await hasGoneBack(world, 'CrashLooping')
})

test('pods that restart while they load a candidate make it refused', async () => {
  const world = await released()
  world.pass(1800)
  await world.settle()
  world.callsBlocked = true
  world.runs.push(run({ name: 'verse', checkpoints: [{ step: 9, letter: 'c', best: true }] }))
  world.edit({ source: { run: { name: 'verse', checkpoint: 'Best' } } })
  await reconcileRelease(world.object, world, world.now)
  assert.equal(world.object.status?.verdict?.state, 'Switching')
  world.podsLook = { restarts: 3 }
  await world.settle()
  assert.equal(world.ready(), 'False/CrashLooping')
  assert.equal(world.object.status?.active?.digest, a)
})

test('after its window a release is trusted and nobody asks the pods any more', async () => {
  const world = await released()
  assert.deepEqual(await reconcileRelease(world.object, world, world.now), { kind: 'waiting', seconds: 5 })
  world.pass(1800)
  assert.deepEqual(await reconcileRelease(world.object, world, world.now), { kind: 'settled' })
  health(world, { errors: 50 })
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
})

test('what was gone back to by hand is not watched, what was rolled back is watched again', async () => {
  const world = await released()
  world.edit(checkpoint('Best'))
  await world.settle()
  assert.equal(world.object.status?.watch, undefined)
  health(world, { errors: 50 }, b)
  await world.settle()
  assert.equal(world.object.status?.active?.digest, b)

  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  assert.equal(world.object.status?.watch, undefined, 'a served well before')
  const again = await released()
  health(again, { errors: 50 })
  await hasGoneBack(again, 'TooManyErrors')
  again.edit({ pod: { nodeSelector: { zone: 'x' } } })
  await again.settle()
  assert.equal(again.ready(), 'False/RolledBack', 'tried again, measured again, gone back again')
})

test('rollback.to Base, a release with nothing before it, and a previous one that is broken: the base serves', async () => {
  const toBase = await released(rollback({ ...limits, to: 'Base' }))
  health(toBase, { errors: 50 })
  await hasGoneBack(toBase, 'TooManyErrors', '')

  const first = new World(release({ ...checkpoint('checkpoint-12'), ...rollback(limits) }))
  await first.settle()
  health(first, { errors: 50 })
  await hasGoneBack(first, 'TooManyErrors', '')

  const broken = await released()
  broken.broken.add(b)
  broken.failure = `adapters/${'b'.repeat(64)} does not exist and no checkpoint is named to promote it from`
  health(broken, { errors: 50 })
  await hasGoneBack(broken, 'TooManyErrors', '')
})

test('another base model goes back to its own Deployment', async () => {
  const world = await released()
  world.pass(1800)
  await world.settle()
  const before = world.serviceTo()
  world.runs.push(run({ name: 'verse', model: 'n', checkpoints: [{ step: 9, letter: 'c', best: true }] }))
  world.edit({ source: { run: { name: 'verse', checkpoint: 'Best' } } })
  await world.settle()
  assert.notEqual(world.serviceTo(), before)
  health(world, { errors: 50 }, digestOf('c'))
  await world.settle()
  assert.equal(world.ready(), 'False/RolledBack')
  assert.equal(world.object.status?.active?.digest, a)
  assert.equal(world.serviceTo(), before)
})

test('a rollback survives the operator dying after each of its effects', async () => {
  for (let dieAt = 1; dieAt < 12; dieAt++) {
    const world = await released()
    world.effects = 0
    world.dieAt = dieAt
    health(world, { errors: 50 })
    await hasGoneBack(world, 'TooManyErrors')
    assert.deepEqual(
      world.object.status?.history?.map(({ digest }) => digest),
      [b, a],
    )
  }
})

test('what serves and is rejected by a person goes back, also where rollback.mode is Manual', async () => {
  for (const mode of ['Automatic', 'Manual'] as const) {
    const world = await released(rollback({ mode }))
    world.pass(1800)
    await world.settle()
    assert.equal(watched(world), undefined)
    world.edit({ review: { required: false, rejectedDigest: a } })
    await hasGoneBack(world, 'Rejected')
    world.edit({ pod: { nodeSelector: { zone: 'x' } } })
    await world.settle()
    assert.equal(world.ready(), 'False/Rejected')
    assert.equal(world.object.status?.active?.digest, b)
  }
})

test('a previous adapter that a person rejected meanwhile is not gone back to, nor does status name it: the base serves', async () => {
  const world = await released()
  world.edit({ review: { required: false, rejectedDigest: b } })
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  const actives: (string | undefined)[] = []
  const { writeStatus } = world
  world.writeStatus = (object, status) => {
    actives.push(status.active?.digest)
    return writeStatus.call(world, object, status)
  }
  health(world, { errors: 50 })
  await hasGoneBack(world, 'TooManyErrors', '')
  assert.deepEqual([...new Set(actives)], [''])
  const left = world.object.status?.history?.find(({ digest }) => digest === b)
  assert.match(left?.leftBecause ?? '', /took its place$/, 'it left when another took its place, not by a rollback')
})
