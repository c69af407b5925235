import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../run/world.ts'
import type { AttemptState } from '../workload/attempt-state.ts'
import type { Refusal } from '../workload/children.ts'
import type { Ending } from '../workload/ending.ts'
import { reconcileDataset } from './reconcile.ts'
import { absent, base, completes, failed, observed, start, World } from './world.ts'

test('a dataset is prepared once, whichever write the operator dies after', async () => {
  for (let dieAt = 0; dieAt < 12; dieAt++) {
    const world = new World(completes, dieAt)
    await world.settle()
    const { status } = world.object
    assert.deepEqual(
      [world.made, status?.digest, status?.attempts?.length],
      [[1], digestOf('d'), 1],
      `died at ${dieAt}`,
    )
  }
})

test('what a source lacks stands until the next attempt begins', async () => {
  const words = 'source prose: /sources/prose/late.jsonl does not exist'
  const world = new World(() => failed('NotFound', words))
  await world.settle(100)
  const made = world.made.length
  assert.ok(made >= 3, `${made} attempts`)
  const { ready } = world
  assert.equal(ready, `False NotFound: ${words}`)
  await world.settle(5)
  assert.equal(world.ready, ready)
  assert.deepEqual([...new Set(world.said)].toSorted(), [
    `False NotFound: ${words}`,
    ...Array.from({ length: world.made.length }, (_, i) => `False Scheduling: attempt ${i + 1}: making the Job`),
  ])
})

test('a spec that failed, was taken back and comes again is tried again, never called prepared', async () => {
  const other = { trainPercent: 95, seed: 7 }
  const world = new World((dataset, attempt) =>
    dataset.spec.split.seed === other.seed ? failed('SourceInvalid') : completes(dataset, attempt),
  )
  await world.settle()
  for (const attempt of [2, 3]) {
    world.change({ split: other })
    await world.settle()
    assert.deepEqual([world.ready, world.made.at(-1)], ['False SourceInvalid: words', attempt])
    world.change({ split: base.spec.split })
    await world.settle()
    assert.match(world.ready, /^True Prepared/)
  }
  assert.deepEqual(world.made, [1, 2, 3])
})

test('what a repository’s card says of its licence fits into status, however long', async () => {
  const source = { name: 'prose', revision: 'c'.repeat(40), license: 'CC-BY-4.0 AND '.repeat(50), counts: undefined }
  const world = new World((dataset, attempt) => {
    const { kind, ending } = completes(dataset, attempt) as AttemptState & { kind: 'ended' }
    const { result } = ending as Ending & { kind: 'completed' }
    const preparation = { ...result.preparation!, sources: [source] }
    return { kind, ending: { kind: 'completed', result: { ...result, preparation } } }
  })
  await world.settle()
  assert.equal(world.object.status?.sources?.[0]?.license, source.license.slice(0, 128))
})

test('after its failures a dataset waits for a person, and another retryToken begins anew', async () => {
  const world = new World(() => failed('Internal'))
  await world.settle(100)
  assert.deepEqual(world.made, [1, 2, 3, 4])
  assert.equal(world.ready, 'False RetriesExhausted: 4 attempts failed, the last with Internal: words')
  world.change({ retryToken: 'again' })
  await world.settle(700)
  assert.deepEqual([world.made.length, world.object.status?.failures], [8, 4])
})

test('a preparation that is no longer wanted is stopped, also where its rows are there already', async () => {
  const other = { trainPercent: 95, seed: 7 }
  const running: AttemptState = { kind: 'running', pod: { name: 'p', uid: 'u', ready: true, since: start } }
  const world = new World((dataset, attempt) =>
    dataset.spec.split.seed === other.seed ? running : completes(dataset, attempt),
  )
  await world.settle()
  world.change({ split: other })
  await world.settle()
  assert.equal(world.ready, 'False Preparing: pod p prepares the dataset')
  world.change({ split: base.spec.split })
  await world.settle()
  assert.match(world.ready, /^True Prepared/)
  assert.deepEqual((await world.observe(world.object)).remains.jobs, [])
})

test('a claim for one pod is looked at again, for somebody may make another; a malformed pod waits for the spec', async () => {
  const outcome = (accessMode: string, refusal?: Refusal) =>
    reconcileDataset(
      base,
      {
        observe: async () => observed(absent, { claim: { name: 'humanizer', accessModes: [accessMode] } }),
        record: async (dataset, status) => ({ ...dataset, status }),
        act: async () => refusal,
      },
      start,
    )
  assert.deepEqual(await outcome('ReadWriteOncePod'), { kind: 'waiting', seconds: 300 })
  const refusal: Refusal = { kind: 'stall', reason: 'PodInvalid', message: 'words' }
  assert.deepEqual(await outcome('ReadWriteMany', refusal), { kind: 'settled' })
})
