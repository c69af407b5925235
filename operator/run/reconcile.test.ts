import assert from 'node:assert/strict'
import { test } from 'node:test'
import { disrupted, failed, fetched, finished, run, type Script, World } from './world.ts'

const trained = (world: World) => world.made.filter((name) => name.includes('-train-'))
const ready = (world: World) => world.object.status?.conditions?.find(({ type }) => type === 'Ready')

const stories: {
  a_run: string
  script: Script
  attempts: number
  failures: number
  reason: string
  maxRetries?: number
}[] = [
  { a_run: 'that finishes at once', script: [finished], attempts: 1, failures: 0, reason: 'Succeeded' },
  {
    a_run: 'whose pod is deleted twice',
    script: [disrupted, disrupted, finished],
    attempts: 3,
    failures: 0,
    reason: 'Succeeded',
  },
  {
    a_run: 'that is disrupted more often than it may fail',
    script: [...Array(6).fill(disrupted), finished],
    attempts: 7,
    failures: 0,
    reason: 'Succeeded',
  },
  {
    a_run: 'that runs out of memory once',
    script: [failed('ContainerOutOfMemory'), finished],
    attempts: 2,
    failures: 1,
    reason: 'Succeeded',
  },
  {
    a_run: 'that runs out of memory twice',
    script: [failed('DeviceOutOfMemory')],
    attempts: 2,
    failures: 2,
    reason: 'DeviceOutOfMemory',
  },
  {
    a_run: 'that is killed and then finishes',
    script: [failed('Killed'), finished],
    attempts: 2,
    failures: 1,
    reason: 'Succeeded',
  },
  { a_run: 'that always crashes', script: [failed('Internal')], attempts: 4, failures: 4, reason: 'RetriesExhausted' },
  {
    a_run: 'that may not fail',
    script: [failed('Internal')],
    attempts: 1,
    failures: 1,
    reason: 'RetriesExhausted',
    maxRetries: 0,
  },
  {
    a_run: 'with nothing to be evaluated on',
    script: [failed('NoValidation')],
    attempts: 1,
    failures: 1,
    reason: 'NoValidation',
  },
  { a_run: 'whose loss is not finite', script: [failed('NonFinite')], attempts: 1, failures: 1, reason: 'NonFinite' },
  {
    a_run: 'whose disk was full for a while',
    script: [failed('StorageFull'), failed('StorageFull'), finished],
    attempts: 3,
    failures: 0,
    reason: 'Succeeded',
  },
]
for (const { a_run, script, attempts, failures, reason, maxRetries = 3 } of stories) {
  test(`a run ${a_run} ends as ${reason} after ${attempts} attempts`, async () => {
    const world = new World(run({ maxRetries }), script)
    await world.settle()
    assert.deepEqual([ready(world)?.reason, world.object.status?.failures], [reason, failures])
    assert.deepEqual(
      trained(world),
      Array.from({ length: attempts }, (_, i) => `prose-train-${i + 1}`),
    )
  })

  test(`a run ${a_run} ends the same when the operator dies at any effect`, async () => {
    const calm = new World(run({ maxRetries }), script)
    await calm.settle()
    const outcome = (world: World) => [
      ready(world)?.reason,
      world.object.status?.failures,
      world.object.status?.attempts?.map(({ reason, microBatchSize }) => [reason, microBatchSize]),
      world.made,
    ]
    let deaths = 0
    for (let effect = 0; effect < 80; effect++) {
      const world = new World(run({ maxRetries }), script, effect)
      await world.settle()
      assert.deepEqual(outcome(world), outcome(calm), `died at effect ${effect}`)
      deaths++
    }
    assert.equal(deaths, 80)
  })
}

test('out of memory halves the micro-batch once and keeps the effective batch', async () => {
  const world = new World(run(), [failed('ContainerOutOfMemory'), failed('Killed'), finished])
  await world.settle()
  const plans = world.object.status?.attempts?.map(({ microBatchSize, gradientAccumulation }) => [
    microBatchSize,
    gradientAccumulation,
  ])
  assert.deepEqual(plans, [
    [4, 4],
    [2, 8],
    [2, 8],
  ])
})

test('a finished run whose Job, pod and dataset are deleted stays Succeeded and never trains again', async () => {
  const world = new World(run(), [finished])
  await world.settle()
  const before = world.object.status
  world.jobs.clear()
  world.datasets.clear()
  world.claim = false
  world.object = { ...world.object, spec: { ...world.object.spec, retryToken: 'again' } }
  await world.settle()
  assert.deepEqual(trained(world), ['prose-train-1'])
  assert.deepEqual(world.object.status, before)
})

test('the words of a failure stand until the next attempt begins', async () => {
  const world = new World(run({ maxRetries: 9 }), [failed('Killed')])
  while (world.made.length < 8) await world.settle(1)
  const words = () => ready(world)?.message
  while (!/failure 7/.test(words() ?? '')) await world.settle(1)
  let seconds = 0
  for (; trained(world).length < 8; seconds += 30) {
    assert.match(words() ?? '', /^Killed: words; failure 7 of at most 9/)
    await world.settle(1)
  }
  assert.ok(seconds >= 150, `${seconds} s`)
})

test('fetching that is disrupted again and again slows down, forgets no failure, and goes on in the end', async () => {
  const world = new World(run(), [finished])
  world.fetches = [failed('Internal'), ...Array(5).fill(disrupted), fetched]
  const seen: unknown[] = []
  for (let round = 0; round < 40; round++) {
    await world.settle(1)
    const { number, reason, failures, fruitless } = world.object.status?.fetch ?? {}
    if (reason && seen.length < number!) seen.push([number, reason, failures, fruitless])
  }
  assert.deepEqual(seen, [
    [1, 'Internal', 1, 1],
    ...[2, 3, 4, 5, 6].map((number) => [number, 'Disrupted', 1, number]),
    [7, 'Completed', 1, 0],
  ])
  assert.equal(ready(world)?.reason, 'Succeeded')
})

test('a failed run tries again when retryToken changes, and only then', async () => {
  const world = new World(run(), [failed('NonFinite'), finished])
  await world.settle()
  assert.deepEqual([ready(world)?.reason, trained(world).length], ['NonFinite', 1])
  world.object = { ...world.object, spec: { ...world.object.spec, retryToken: 'again' } }
  await world.settle()
  assert.deepEqual([ready(world)?.reason, trained(world).length], ['Succeeded', 2])
  assert.equal(world.object.status?.conditions?.find(({ type }) => type === 'Succeeded')?.status, 'True')
})

test('a suspended run leaves no Job, keeps its failures, and goes on when it is resumed', async () => {
  const world = new World(run(), [finished])
  while (!world.jobs.has('prose-train-1')) await world.settle(1)
  const suspend = (suspend: boolean) => {
    world.object = { ...world.object, spec: { ...world.object.spec, suspend } }
  }
  world.jobs.set('prose-train-1', { kind: 'pending', reason: 'Scheduling', message: '' })
  suspend(true)
  await world.settle(10)
  assert.deepEqual([ready(world)?.reason, world.jobs.size, world.object.status?.failures], ['Suspended', 0, 0])
  suspend(false)
  await world.settle()
  assert.deepEqual([ready(world)?.reason, trained(world)], ['Succeeded', ['prose-train-1', 'prose-train-2']])
})

test('a steady state writes nothing', async () => {
  const world = new World(run(), [finished])
  await world.settle()
  const { resourceVersion } = world.object.metadata
  await world.settle()
  assert.equal(world.object.metadata.resourceVersion, resourceVersion)
})
