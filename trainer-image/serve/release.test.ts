import assert from 'node:assert/strict'
import { test } from 'node:test'
import { status } from '@grpc/grpc-js'
import { pino } from 'pino'
import type { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import { JobFailure } from '../job/failure.ts'
import type { Adapter } from '../native/index.ts'
import type { Remembered } from './desired.ts'
import type { LoadedAdapter } from './lease.ts'
import { Release } from './release.ts'

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`
const desired = (generation: number, letter: string, warmSeconds = 0): DesiredAdapter => ({
  warmSeconds,
  generation,
  digest: letter === '' ? '' : digest(letter),
  sourcePath: '',
  format: undefined,
  split: undefined,
})

/** Adapters that exist in memory only; `hold` keeps a load waiting until it is called. */
class World {
  readonly open = new Set<string>()
  readonly broken = new Set<string>()
  readonly loads: string[] = []
  remembered: Remembered | undefined
  readonly #held = new Map<string, Promise<void>>()
  readonly release = new Release('pod-1', {
    log: pino({ level: 'silent' }),
    now: () => new Date(0),
    switched: () => undefined,
    health: () => ({ windowSeconds: 60, requests: 0, errors: 0, firstTokenP95Seconds: 0 }),
    totals: () => ({ answered: 0, lost: 0 }),
    remember: async (state) => {
      this.remembered = state
    },
    load: (wanted) => this.#load(wanted.digest),
  })

  hold(letter: string): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#held.set(digest(letter), promise)
    return resolve
  }

  async #load(name: string): Promise<LoadedAdapter> {
    this.loads.push(name)
    await this.#held.get(name)
    if (this.broken.has(name)) throw new JobFailure('SourceInvalid', 'bytes differ')
    if (name === '') return { adapter: undefined }
    this.open.add(name)
    const adapter = { close: () => assert.ok(this.open.delete(name), 'closed once') } as unknown as Adapter
    return { adapter, templateDate: `the day of ${name}` }
  }
}

const code = (wanted: status) => (error: { status?: status }) => error.status === wanted

test('nothing is leased before something is proved', () => {
  assert.equal(new World().release.lease(), undefined)
})

test('a request ends on the adapter it began with, which is closed only then', async () => {
  const world = new World()
  await world.release.want(desired(1, 'a'))
  const lease = world.release.lease()!
  await world.release.want(desired(2, 'b'))
  assert.equal(lease.digest, digest('a'))
  assert.equal(world.release.lease()!.digest, digest('b'))
  assert.equal(lease.templateDate, `the day of ${digest('a')}`)
  assert.deepEqual([...world.open], [digest('a'), digest('b')])
  assert.deepEqual([world.release.state().activeRequests, world.release.state().drainingRequests], [1, 1])
  lease.release()
  assert.deepEqual([...world.open], [digest('b')])
})

test('an idle adapter is closed at the flip', async () => {
  const world = new World()
  await world.release.want(desired(1, 'a'))
  await world.release.want(desired(2, ''))
  assert.equal(world.open.size, 0)
  assert.equal(world.release.state().digest, '')
})

test('equal calls that race share one load', async () => {
  const world = new World()
  const go = world.hold('a')
  const calls = [world.release.want(desired(1, 'a')), world.release.want(desired(1, 'a'))]
  go()
  await Promise.all(calls)
  await world.release.want(desired(1, 'a'))
  assert.deepEqual(world.loads, [digest('a')])
})

test('of two generations that race the higher serves, whichever loads longer', async () => {
  const world = new World()
  const go = world.hold('a')
  const older = assert.rejects(world.release.want(desired(1, 'a')), code(status.ABORTED))
  const newer = world.release.want(desired(2, 'b'))
  await assert.rejects(world.release.want(desired(1, 'a')), code(status.FAILED_PRECONDITION))
  go()
  await Promise.all([older, newer])
  assert.equal(world.release.state().digest, digest('b'))
  assert.deepEqual([...world.open], [digest('b')])
})

test('going back to what serves while another loads does not wait for it', async () => {
  const world = new World()
  await world.release.want(desired(1, 'a'))
  const go = world.hold('b')
  const older = assert.rejects(world.release.want(desired(2, 'b')), code(status.ABORTED))
  await world.release.want(desired(3, 'a'))
  assert.equal(world.release.converged, true)
  go()
  await older
  assert.deepEqual([world.release.state().generation, ...world.open], [3, digest('a')])
})

test('a broken adapter leaves the old one serving, is named in the state and tried again when asked', async () => {
  const world = new World()
  await world.release.want(desired(1, 'a'))
  world.broken.add(digest('b'))
  await assert.rejects(world.release.want(desired(2, 'b')), /bytes differ/)
  const { digest: serving, generation, failure, failedGeneration } = world.release.state()
  assert.deepEqual([serving, generation, failure, failedGeneration], [digest('a'), 1, 'bytes differ', 2])
  assert.deepEqual(world.remembered, { desired: desired(2, 'b'), served: desired(1, 'a') })
  world.broken.clear()
  await world.release.want(desired(2, 'b'))
  assert.deepEqual([world.release.state().generation, world.release.state().failure], [2, ''])
  assert.deepEqual(world.remembered, { desired: desired(2, 'b'), served: desired(2, 'b') })
})

test('what was accepted is remembered before it is loaded', async () => {
  const world = new World()
  const go = world.hold('a')
  const call = world.release.want(desired(7, 'a'))
  while (world.loads.length === 0) await new Promise(setImmediate)
  assert.deepEqual(world.remembered, { desired: desired(7, 'a'), served: undefined })
  go()
  await call
})

test('after a restart whose desired adapter is broken, what served before serves, and a newer one still replaces it', async () => {
  const world = new World()
  world.broken.add(digest('b'))
  await assert.rejects(world.release.want(desired(5, 'b')))
  await world.release.fallBack(desired(4, 'a'))
  assert.deepEqual([world.release.state().generation, world.release.state().failedGeneration], [4, 5])
  assert.equal(world.release.converged, false)
  await world.release.want(desired(6, 'c'))
  assert.deepEqual([world.release.state().digest, ...world.open], [digest('c'), digest('c')])
})

for (const bad of ['sha256:abc', 'latest', `${digest('a')}/..`]) {
  test(`a digest like ${bad.slice(0, 12)}… is refused before anything is touched`, async () => {
    const world = new World()
    await assert.rejects(world.release.want({ ...desired(1, 'a'), digest: bad }), /digest is/)
    await assert.rejects(world.release.want({ ...desired(1, 'a'), sourcePath: '../x' }), /source_path is/)
    assert.deepEqual([world.loads, world.remembered], [[], undefined])
  })
}

test('what served before stays warm, serves again without a load, and is closed when its time is over', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const world = new World()
  await world.release.want(desired(1, 'a', 60))
  const early = world.release.lease()
  await world.release.want(desired(2, 'b', 60))
  assert.deepEqual([...world.open], [digest('a'), digest('b')])
  await world.release.want(desired(3, 'a', 60))
  assert.equal(world.release.state().digest, digest('a'))
  assert.deepEqual(world.loads, [digest('a'), digest('b')], 'a was not read again')
  assert.equal(world.release.state().activeRequests, 1, 'the request that began on it is on it still')
  early?.release()

  t.mock.timers.tick(59_000)
  assert.deepEqual([...world.open], [digest('a'), digest('b')])
  t.mock.timers.tick(1_000)
  assert.deepEqual([...world.open], [digest('a')])
  await world.release.want(desired(4, 'b', 60))
  assert.deepEqual(world.loads, [digest('a'), digest('b'), digest('b')])
})

test('one adapter at most is warm, and none when it is not asked for', async () => {
  const world = new World()
  await world.release.want(desired(1, 'a', 60))
  await world.release.want(desired(2, 'b', 60))
  await world.release.want(desired(3, 'c', 60))
  assert.deepEqual([...world.open], [digest('b'), digest('c')])
  await world.release.want(desired(4, 'd'))
  assert.deepEqual([...world.open], [digest('d')])
  world.release.close()
  assert.deepEqual([...world.open], [])
})

test('a warm adapter that a newer generation overtakes is not closed under it', async () => {
  const world = new World()
  await world.release.want(desired(1, 'a', 60))
  await world.release.want(desired(2, 'b', 60))
  await Promise.allSettled([world.release.want(desired(3, 'a', 60)), world.release.want(desired(4, 'b', 60))])
  assert.equal(world.release.state().digest, digest('b'))
  await world.release.want(desired(5, 'a', 60))
  assert.equal(world.release.state().digest, digest('a'))
  assert.ok(world.open.has(digest('a')))
  world.release.close()
  assert.deepEqual([...world.open], [])
})

const withSplit = (generation: number, letter: string, other: string, percent: number): DesiredAdapter => ({
  ...desired(generation, letter),
  split: { digest: digest(other), sourcePath: '', format: undefined, percent },
})
/** Digests of the next requests, each let go at once. */
function next(world: World, requests: number): string[] {
  return Array.from({ length: requests }, () => {
    const lease = world.release.lease()!
    lease.release()
    return lease.digest
  })
}

test('what still drains serves again without a load, with the requests that began on it, and is open once', async () => {
  const world = new World()
  await world.release.want(desired(1, 'a'))
  const early = world.release.lease()!
  await world.release.want(desired(2, 'b'))
  await world.release.want(desired(3, 'a'))
  assert.deepEqual(world.loads, [digest('a'), digest('b')], 'a was not read again')
  assert.deepEqual([...world.open], [digest('a')])
  const late = world.release.lease()!
  assert.equal(late.adapter, early.adapter)
  assert.deepEqual([world.release.state().activeRequests, world.release.state().drainingRequests], [2, 0])
  early.release()
  assert.deepEqual([...world.open], [digest('a')], 'the end of the drain closes nothing that serves')
  await world.release.want(desired(4, 'c'))
  assert.deepEqual([...world.open], [digest('a'), digest('c')])
  late.release()
  assert.deepEqual([...world.open], [digest('c')])
})

test('a drain that ends while its adapter is to serve again closes it at the flip at the earliest, and not if it serves', async () => {
  for (const broken of [true, false]) {
    const world = new World()
    if (broken) world.broken.add(digest('c'))
    await world.release.want(desired(1, 'a'))
    const early = world.release.lease()!
    await world.release.want(desired(2, 'b'))
    const go = world.hold('c')
    const back = Promise.allSettled([world.release.want(withSplit(3, 'a', 'c', 50))])
    while (!world.loads.includes(digest('c'))) await new Promise(setImmediate)
    early.release()
    assert.ok(world.open.has(digest('a')))
    go()
    assert.equal((await back)[0]?.status, broken ? 'rejected' : 'fulfilled')
    assert.deepEqual([...world.open].sort(), broken ? [digest('b')] : [digest('a'), digest('c')])
    world.release.close()
    assert.equal(world.open.size, 0)
  }
})

test('what still drains beside a warm one becomes the second adapter, and the warm one goes', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const world = new World()
  await world.release.want(desired(1, 'a'))
  const early = world.release.lease()!
  await world.release.want(desired(2, 'b'))
  await world.release.want(desired(3, 'c', 60))
  assert.deepEqual([...world.open], [digest('a'), digest('b'), digest('c')])
  await world.release.want(withSplit(4, 'c', 'a', 50))
  assert.deepEqual([...world.open], [digest('a'), digest('c')])
  assert.deepEqual(next(world, 2), [digest('c'), digest('a')])
  early.release()
  t.mock.timers.tick(60_000)
  assert.deepEqual(world.loads, [digest('a'), digest('b'), digest('c')])
  assert.deepEqual([...world.open], [digest('a'), digest('c')])
  await world.release.want(desired(5, 'c'))
  assert.deepEqual([...world.open], [digest('c')])
})

test('a second adapter gets its share evenly, stays open for what began on it, and is closed after', async () => {
  const world = new World()
  const [a, b] = [digest('a'), digest('b')]
  await world.release.want(desired(1, 'a'))
  await world.release.want(withSplit(2, 'a', 'b', 25))
  assert.deepEqual(next(world, 8), [a, a, a, b, a, a, a, b])
  assert.equal(world.release.lease(false)?.digest, a, 'a request for the base takes no share')
  await world.release.want(withSplit(3, 'a', 'b', 50))
  assert.deepEqual(next(world, 4), [a, b, a, b])
  assert.deepEqual(world.loads, [a, b], 'another share loads nothing')
  next(world, 1)
  const lease = world.release.lease()!
  assert.equal(lease.digest, b)
  await world.release.want(desired(4, 'a'))
  assert.deepEqual(next(world, 3), [a, a, a])
  assert.deepEqual([...world.open], [a, b])
  lease.release()
  assert.deepEqual([...world.open], [a])
})

test('a second adapter that becomes the first is not loaded again, and what served is closed', async () => {
  const world = new World()
  await world.release.want(desired(1, 'a'))
  await world.release.want(withSplit(2, 'a', 'b', 10))
  await world.release.want(desired(3, 'b'))
  assert.deepEqual([world.loads, [...world.open]], [[digest('a'), digest('b')], [digest('b')]])
  assert.deepEqual(next(world, 2), [digest('b'), digest('b')])
})

test('a second adapter that does not load leaves nothing open, and one that replaces it closes it', async () => {
  const world = new World()
  world.broken.add(digest('b'))
  await world.release.want(desired(1, 'a'))
  await assert.rejects(world.release.want(withSplit(2, 'a', 'b', 10)), /bytes differ/)
  await assert.rejects(world.release.want(withSplit(3, 'c', 'b', 10)), /bytes differ/)
  assert.deepEqual([...world.open], [digest('a')])
  assert.equal(world.release.state().failedGeneration, 3)
  await world.release.want(withSplit(4, 'a', 'c', 10))
  await world.release.want(withSplit(5, 'a', 'd', 10))
  assert.deepEqual([...world.open], [digest('a'), digest('d')])
  world.release.close()
  assert.equal(world.open.size, 0)
})
