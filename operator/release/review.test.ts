/** A person between the gates and the pods. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AdapterReleaseSpec } from '../api/generated/adapterrelease.ts'
import { digestOf, release, run } from './objects.ts'
import { reconcileRelease } from './reconcile.ts'
import { World } from './world.ts'

const [a, b, c] = ['a', 'b', 'c'].map(digestOf) as [string, string, string]
const checkpoint = (name: string) => ({ source: { run: { name: 'prose', checkpoint: name } } })
const review = (changes: Partial<NonNullable<AdapterReleaseSpec['review']>>) => ({
  review: { required: true, ...changes },
})

/** b serves, approved by ann; spec.source asks for a, which nobody has approved. */
async function waiting(changes: Parameters<typeof review>[0] = {}): Promise<World> {
  const world = new World(release(review({ approvedDigest: b, approvedBy: 'ann' })))
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  world.pass(1800)
  await world.settle()
  world.edit({ ...checkpoint('checkpoint-12'), ...review({ approvedDigest: b, approvedBy: 'ann', ...changes }) })
  await world.settle()
  return world
}

test('the approval of one digest lets no other through', async () => {
  const world = await waiting()
  assert.equal(world.ready(), 'False/ReviewPending')
  assert.equal(world.object.status?.candidate?.digest, a)
  assert.equal(world.pods[0]?.state.digest, b)
  world.edit(review({ approvedDigest: c, approvedBy: 'ann' }))
  await world.settle()
  assert.equal(world.ready(), 'False/ReviewPending')
  world.edit(review({ approvedDigest: a, approvedBy: 'bob' }))
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.approvedBy, 'bob')
})

test('what was approved and served goes back without being asked again, and history keeps who approved and why it left', async () => {
  const world = await waiting()
  world.pass(60)
  world.edit(review({ approvedDigest: a, approvedBy: 'bob' }))
  await world.settle()
  world.pass(60)
  world.edit({ ...checkpoint('Best'), ...review({}) })
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  const [now, before, ...rest] = world.object.status?.history ?? []
  assert.equal(rest.length, 0)
  assert.deepEqual([now?.digest, now?.approvedBy, now?.leftTime], [b, 'ann', undefined])
  assert.deepEqual([before?.digest, before?.approvedBy, before?.leftTime], [a, 'bob', '2026-01-01T00:32:00Z'])
  assert.match(before?.leftBecause ?? '', /^prose\/checkpoint-24 \(sha256:b+…\) was gone back to$/)
  assert.equal(before?.wentBack, true)
  assert.equal(before?.metrics?.evalLoss, '1.9')
})

test('the base and a dry run need no approval, a rejected digest never serves', async () => {
  const world = await waiting()
  world.edit({ source: { base: true } })
  await world.settle()
  assert.equal(world.object.status?.active?.digest, '')
  world.edit({ ...checkpoint('Best'), ...review({ rejectedDigest: b }) })
  await world.settle()
  assert.equal(world.ready(), 'False/Rejected', 'although it served before')
  assert.equal(world.pods[0]?.state.digest, '')
})

test('a review has a deadline, which an unrelated edit does not move and an approval overrules', async () => {
  const world = await waiting({ deadlineSeconds: 3600 })
  assert.deepEqual(await reconcileRelease(world.object, world, world.now), { kind: 'waiting', seconds: 3600 })
  world.pass(3599)
  await world.settle()
  assert.equal(world.ready(), 'False/ReviewPending')
  world.edit({ gates: [] })
  world.pass(1)
  await world.settle()
  assert.equal(world.ready(), 'False/ReviewExpired')
  assert.ok(world.object.status?.conditions?.some(({ type }) => type === 'Stalled'))
  world.edit({ gates: [{ metric: 'evalLoss', max: '3', enforcement: 'Enforce' }] })
  await world.settle()
  assert.equal(world.ready(), 'False/ReviewExpired')
  world.edit(review({ approvedDigest: a, approvedBy: 'bob', deadlineSeconds: 3600 }))
  await world.settle()
  assert.equal(world.object.status?.active?.digest, a)
})

test('a deadline passes with nothing else happening', async () => {
  const world = await waiting({ deadlineSeconds: 60 })
  const events = world.events.length
  world.pass(60)
  await world.settle()
  assert.equal(world.ready(), 'False/ReviewExpired')
  assert.deepEqual(world.events.slice(events), ['Warning ReviewExpired'])
})

test('an approval lets through what a gate could not tell, and nothing that failed one', async () => {
  const world = await waiting()
  world.runs = [run({ checkpoints: [{ step: 12, letter: 'a' }] })]
  const gates = (max: string) => ({ gates: [{ metric: 'evalLoss', max, enforcement: 'Enforce' as const }] })
  world.edit({ ...gates('1.95'), review: { required: false } })
  await world.settle()
  assert.equal(world.ready(), 'False/GateInconclusive')
  world.runs = [run({ checkpoints: [{ step: 12, letter: 'a', evalLoss: '1.9' }] })]
  world.edit({ ...gates('1.8'), ...review({ approvedDigest: a, approvedBy: 'bob' }) })
  await world.settle()
  assert.equal(world.ready(), 'False/GateFailed')
  world.runs = [run({ checkpoints: [{ step: 12, letter: 'a' }] })]
  world.edit({ ...gates('1.95'), ...review({ approvedDigest: a, approvedBy: 'bob' }) })
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.digest, a)
})
