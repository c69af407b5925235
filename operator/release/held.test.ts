/** Candidates that are neither let through nor refused: they wait for a person or for evidence. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AdapterReleaseSpec } from '../api/generated/adapterrelease.ts'
import { digestOf, release, run } from './objects.ts'
import { reconcileRelease } from './reconcile.ts'
import { World } from './world.ts'

const [a, b] = ['a', 'b'].map(digestOf) as [string, string]
const toFirst = { source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } } }
const gate = (changes: object) =>
  ({ gates: [{ metric: 'evalLoss', enforcement: 'Enforce', ...changes }] }) as Partial<AdapterReleaseSpec>
const twelve = (evalLoss?: string) => [
  { step: 12, letter: 'a', ...(evalLoss !== undefined && { evalLoss }) },
  { step: 24, letter: 'b', evalLoss: '1.8', best: true },
]

async function serving(): Promise<World> {
  const world = new World()
  await world.settle()
  assert.equal(world.object.status?.active?.digest, b)
  world.pass(1800)
  await world.settle()
  return world
}

test('missing evidence holds a candidate, what serves goes on, and evidence that comes lets it through', async () => {
  const world = await serving()
  world.runs = [run({ checkpoints: twelve() })]
  world.edit({ ...toFirst, ...gate({ max: '1.95' }) })
  await world.settle()
  assert.equal(world.ready(), 'False/GateInconclusive')
  assert.equal(world.object.status?.verdict?.state, 'Held')
  assert.equal(world.pods[0]?.state.digest, b)
  assert.equal(world.object.status?.policy, 'An adapter serves if evalLoss is at most 1.95.')
  assert.ok(!world.object.status?.conditions?.some(({ type }) => type === 'Stalled'), 'a person can help')
  world.runs = [run({ checkpoints: twelve('1.9') })]
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.digest, a)
})

test('evidence that comes and is bad refuses', async () => {
  const world = await serving()
  world.runs = [run({ checkpoints: twelve() })]
  world.edit({ source: { digest: a }, ...gate({ max: '1.85' }) })
  await world.settle()
  assert.equal(world.ready(), 'False/GateInconclusive')
  world.runs = [run({ checkpoints: twelve('1.9') })]
  await world.settle()
  assert.equal(world.ready(), 'False/GateFailed')
  assert.equal(world.object.status?.active?.digest, b)
})

test('evidence that cannot be read is looked for again, and nothing is stalled', async () => {
  const world = await serving()
  world.runs = [run({ checkpoints: twelve('NaN') })]
  world.edit({ ...toFirst, ...gate({ max: '1.95' }) })
  await world.settle()
  assert.equal(world.ready(), 'False/GateError')
  assert.deepEqual(await reconcileRelease(world.object, world, world.now), { kind: 'waiting', seconds: 60 })
  world.runs = [run({ checkpoints: twelve('1.9') })]
  await world.settle()
  assert.equal(world.object.status?.active?.digest, a)
})

test('a dry run judges and switches nothing, until it is none any more', async () => {
  const world = await serving()
  world.edit({ ...toFirst, ...gate({ max: '1.95' }), dryRun: true })
  await world.settle()
  assert.equal(world.ready(), 'False/DryRun')
  assert.equal(world.pods[0]?.state.digest, b)
  const { verdict } = world.object.status ?? {}
  assert.equal(verdict?.gates?.[0]?.result, 'Passed')
  assert.equal(verdict?.gates?.[0]?.rule, 'evalLoss is at most 1.95')
  world.edit(gate({ max: '1.85' }))
  await world.settle()
  assert.equal(world.ready(), 'False/GateFailed', 'a dry run says what would be refused')
  world.edit({ ...gate({ max: '1.95' }), dryRun: false })
  await world.settle()
  assert.equal(world.object.status?.active?.digest, a)
})

test('a dry run of the first release starts no pod', async () => {
  const world = new World(release({ dryRun: true }))
  await world.settle()
  assert.equal(world.ready(), 'False/DryRun')
  assert.equal(world.children.size, 0)
})

test('a candidate that is held while pods load it makes them take the active one back', async () => {
  const world = await serving()
  world.callsBlocked = true
  world.edit(toFirst)
  await reconcileRelease(world.object, world, world.now)
  assert.equal(world.object.status?.verdict?.state, 'Switching')
  const given = world.object.status?.candidate?.generation ?? 0
  world.edit({ dryRun: true })
  await world.settle()
  assert.equal(world.ready(), 'False/DryRun')
  assert.equal(world.pods[0]?.state.digest, b)
  assert.ok((world.pods[0]?.state.generation ?? 0) > given)
})
