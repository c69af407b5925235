import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checklistItems } from '../api/checklist.ts'
import { releaseItems, type Telling } from './checklist.ts'
import { drillAnnotation } from './drill.ts'
import { digestOf, release } from './objects.ts'
import { World } from './world.ts'

const [a, b] = ['a', 'b'].map(digestOf) as [string, string]
const checkpoint = (name: string) => ({ source: { run: { name: 'prose', checkpoint: name } } })

type Name = (typeof checklistItems)[number]
const itemOf = (world: World, name: Name) => world.object.status?.checklist?.items.find(({ item }) => item === name)
const done = (world: World): string[] =>
  world.object.status?.checklist?.items.filter(({ done }) => done).map(({ item }) => item) ?? []

/** Whether an item is done for the adapter of this digest, and what shows it, as a run of that one checkpoint would say. */
function told(digest: string, name: Name, world: World): string {
  const found = releaseItems(new Set([digest]), [world.object]).find(({ item }) => item === name)!
  return `${found.done}: ${found.evidence}`
}

test('what serves has a checklist of every item, those of its run copied, and they stay when the run is gone', async () => {
  const world = new World()
  const { checklist: _, ...status } = world.runs[0]!.status!
  const items = [{ item: 'ObjectiveDefined', done: true, evidence: 'sound like us' }]
  world.runs[0] = { ...world.runs[0]!, status: { ...status, checklist: items } }
  await world.settle()
  assert.deepEqual(world.object.status?.checklist?.digest, b)
  assert.deepEqual(
    world.object.status?.checklist?.items.map(({ item }) => item),
    checklistItems,
  )
  assert.deepEqual(done(world), ['ObjectiveDefined', 'DeploymentDecided'])
  world.runs.length = 0
  world.edit({ dryRun: false })
  await world.settle()
  assert.deepEqual(done(world), ['ObjectiveDefined', 'DeploymentDecided'])
  assert.match(
    itemOf(world, 'DeploymentDecided')?.evidence ?? '',
    /^release writer served prose\/checkpoint-24 from .*, let through by its gates$/,
  )
})

test('samples are reviewed once a person has approved or rejected this very digest', async () => {
  const world = new World(release({ review: { required: true } }))
  await world.settle()
  assert.deepEqual(done(world), [])
  assert.match(itemOf(world, 'DeploymentDecided')?.evidence ?? '', /^release writer: Held ReviewPending/)
  world.edit({ review: { required: true, approvedDigest: a, approvedBy: 'ann' } })
  await world.settle()
  assert.deepEqual(done(world), [], 'the approval of another digest')
  world.edit({ review: { required: true, approvedDigest: b, approvedBy: 'ann' } })
  await world.settle()
  assert.deepEqual(done(world), ['SamplesReviewed', 'DeploymentDecided'])
  assert.match(itemOf(world, 'SamplesReviewed')?.evidence ?? '', /was approved by ann: spec\.review of release writer/)
  assert.match(itemOf(world, 'DeploymentDecided')?.evidence ?? '', /approved by ann$/)
  // The approval has moved on: who approved it is in history.
  world.edit({ review: { required: true, approvedDigest: a, approvedBy: 'bob' } })
  await world.settle()
  assert.match(told(b, 'SamplesReviewed', world), /^true: prose\/checkpoint-24 was approved by ann: history/)
})

test('a rejection is a review and a decision', async () => {
  const world = new World(release({ review: { required: true, rejectedDigest: b } }))
  await world.settle()
  assert.deepEqual(done(world), ['SamplesReviewed', 'DeploymentDecided'])
  assert.match(told(b, 'DeploymentDecided', world), /rejected sha256:bbbb.*spec\.review\.rejectedDigest/)
  assert.match(told(a, 'DeploymentDecided', world), /^false/)
})

test('a gate that refuses has decided, without anybody having read the samples', async () => {
  const world = new World(release({ gates: [{ metric: 'evalLoss', max: '1', enforcement: 'Enforce' }] }))
  await world.settle()
  assert.deepEqual(done(world), ['DeploymentDecided'])
  assert.match(told(b, 'DeploymentDecided', world), /^true: release writer: Refused GateFailed evalLoss/)
})

test('rollback is tested by going forth and back, of both adapters; not by going forth', async () => {
  const world = new World()
  await world.settle()
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  assert.match(told(a, 'RollbackTested', world), /^false: no release went back/)
  assert.match(told(b, 'RollbackTested', world), /^false/)
  world.pass(5)
  world.edit(checkpoint('Best'))
  await world.settle()
  assert.match(
    told(a, 'RollbackTested', world),
    /^true: release writer: prose\/checkpoint-12 left, .* was gone back to$/,
  )
  assert.match(told(b, 'RollbackTested', world), /^true/)
  assert.ok(done(world).includes('RollbackTested'))
  assert.match(told(digestOf('c'), 'RollbackTested', world), /^false/)
})

test('rollback is tested by going to the base, and by a drill that lost nothing', async () => {
  const toBase = new World()
  await toBase.settle()
  toBase.pass(5)
  toBase.edit({ source: { base: true } })
  await toBase.settle()
  assert.match(
    told(b, 'RollbackTested', toBase),
    /^true: release writer went back from prose\/checkpoint-24 to the base at/,
  )

  const world = new World()
  await world.settle()
  world.edit(checkpoint('checkpoint-12'))
  await world.settle()
  const { metadata } = world.object
  world.object = { ...world.object, metadata: { ...metadata, annotations: { [drillAnnotation]: 'monday' } } }
  await world.settle()
  assert.match(
    told(a, 'RollbackTested', world),
    /^true: release writer: drill of .* Passed, there in .* 0 requests lost$/,
  )
  const { status } = world.object
  const failed: Telling = {
    ...world.object,
    status: { ...status, drill: { ...status!.drill!, state: 'Failed', lost: 2, message: '2 requests were lost' } },
  }
  const items = releaseItems(new Set([a]), [failed])
  assert.match(items.find(({ item }) => item === 'RollbackTested')!.evidence, /Failed, 2 requests were lost/)
  assert.ok(items.every(({ item, done }) => item !== 'RollbackTested' || !done))
})

test('of two releases the one that shows an item speaks for it', async () => {
  const waiting = new World(release({ review: { required: true } }))
  const serving = new World()
  for (const world of [waiting, serving]) await world.settle()
  const items = releaseItems(new Set([b]), [waiting.object, serving.object])
  assert.ok(items.find(({ item }) => item === 'DeploymentDecided')?.done)
})
