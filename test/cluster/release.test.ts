/** Releases on real pods: switches and rollbacks under load, across runs and after them, and pods that come back by themselves. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { portForward, waitFor } from './kubectl.ts'
import { startLoad } from './load.ts'
import {
  type CustomObject,
  condition,
  datasetSpec,
  holds,
  type Namespace,
  openWorld,
  runSpec,
  type World,
} from './world.ts'

let world: World
let namespace: Namespace
let first: CustomObject
let second: CustomObject
let forward: { readonly port: number; close(): void }

const digestOf = (run: CustomObject, name: string): string =>
  run.status?.checkpoints?.find((checkpoint) => checkpoint.name === name)?.digest ??
  assert.fail(`${run.metadata.name} has no ${name}`)

const serves = (digest: string, seconds = 60): Promise<CustomObject> =>
  namespace.until(
    'arl',
    'writer',
    `to serve ${digest}`,
    seconds,
    (release) => (release.status?.active?.digest ?? '') === digest && holds(release, 'Ready'),
  )

/** Changes what the release should serve: the one field of a rollback. */
const release = (source: object): Promise<string> =>
  namespace.kubectl([
    'patch',
    'arl',
    'writer',
    '--type=json',
    '-p',
    JSON.stringify([{ op: 'replace', path: '/spec/source', value: source }]),
  ])

const servingPods = () => namespace.pods('humanizer.dev/release=writer')

before(async () => {
  world = await openWorld()
  namespace = await world.openNamespace('releases')
  await namespace.apply('HumanizerDataset', 'prose', datasetSpec())
  await namespace.apply('QLoRARun', 'first', runSpec(60))
  await namespace.apply('QLoRARun', 'second', runSpec(60, { lora: { rank: 4, alpha: 8 } }))
  await namespace.apply('AdapterRelease', 'writer', {
    source: { run: { name: 'first', checkpoint: 'Best' } },
    gates: [{ metric: 'evalLoss', maxRegression: '0', against: 'Baseline' }],
  })
  first = await namespace.ready('qlr', 'first', 180)
  second = await namespace.ready('qlr', 'second', 180)
  await namespace.ready('arl', 'writer', 120)
  forward = await portForward(world.cluster, 'releases', 'service/writer', 8000)
})
after(() => forward?.close())

test('the three files end in an endpoint that answers with the best checkpoint', async () => {
  const response = await fetch(`http://127.0.0.1:${forward.port}/v1/rewrite`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text: 'the weather be nice', max_tokens: 8 }),
  })
  assert.equal(response.status, 200, await response.clone().text())
  const best = first.status?.checkpoints?.find((checkpoint) => checkpoint.best)
  assert.equal(response.headers.get('x-humanizer-adapter-digest'), best?.digest)
})

test('twelve switches under load, across two runs and to the base, lose nothing and restart nothing', async () => {
  const pods = (await servingPods()).map(({ metadata }) => metadata.uid)
  const load = startLoad(`http://127.0.0.1:${forward.port}`, 3, { model: 'writer', maxTokens: 8 })
  const sources = [
    { source: { run: { name: 'first', checkpoint: 'checkpoint-20' } }, digest: digestOf(first, 'checkpoint-20') },
    { source: { run: { name: 'second', checkpoint: 'checkpoint-60' } }, digest: digestOf(second, 'checkpoint-60') },
    { source: { base: true }, digest: '' },
    { source: { digest: digestOf(first, 'checkpoint-20') }, digest: digestOf(first, 'checkpoint-20') },
  ]
  for (let round = 0; round < 3; round += 1) {
    for (const { source, digest } of sources) {
      await release(source)
      await serves(digest)
    }
  }
  await load.stop()
  assert.deepEqual(load.lost, [])
  assert.ok(load.answers.length >= 24, `only ${load.answers.length} answers`)
  assert.deepEqual(
    (await servingPods()).map(({ metadata }) => metadata.uid),
    pods,
  )
  const expected = new Set([
    ...sources.map(({ digest }) => digest || 'base'),
    ...load.answers.slice(0, 1).map(({ digest }) => digest),
  ])
  for (const { digest } of load.answers) assert.ok(expected.has(digest), `an answer names ${digest}`)
})

test('a checkpoint that the finished run lacks stalls the release with words, and the old one serves on', async () => {
  await release({ run: { name: 'first', checkpoint: 'checkpoint-7' } })
  const seen = await namespace.until('arl', 'writer', 'to be Stalled', 60, (object) => holds(object, 'Stalled'))
  assert.match(condition(seen, 'Stalled')?.message ?? '', /checkpoint-7/)
  assert.equal(seen.status?.active?.digest, digestOf(first, 'checkpoint-20'))
})

test('a candidate that regresses beyond its gate never becomes active', async () => {
  await namespace.patch('arl', 'writer', { gates: [{ metric: 'evalLoss', max: '0.001' }] })
  const other = digestOf(second, 'checkpoint-40')
  await release({ run: { name: 'second', checkpoint: 'checkpoint-40' } })
  const seen = await namespace.until(
    'arl',
    'writer',
    'to refuse the candidate',
    60,
    (object) =>
      condition(object, 'Ready')?.status === 'False' && /0\.001/.test(condition(object, 'Ready')?.message ?? ''),
  )
  assert.notEqual(seen.status?.active?.digest, other)
  await namespace.patch('arl', 'writer', { gates: [] })
  await serves(other)
})

test('a serving pod comes back with the active adapter while the operator is down and the run is deleted', async () => {
  const active = digestOf(second, 'checkpoint-40')
  await namespace.kubectl(['delete', 'qlr', 'second', '--wait=true'])
  await world.scaleOperator(0)
  try {
    const [pod] = await servingPods()
    await world.killContainer(pod!)
    await waitFor('the container to be restarted and ready', 90, async () => {
      const [seen] = await servingPods()
      const status = seen?.status.containerStatuses?.[0]
      return status && status.restartCount >= 1 && status.ready ? true : undefined
    })
    const [again] = await servingPods()
    await namespace.kubectl(['delete', 'pod', again!.metadata.name])
    const fresh = await waitFor('a fresh pod to be ready', 90, async () =>
      (await servingPods()).find(
        ({ metadata, status }) => metadata.uid !== again!.metadata.uid && status.containerStatuses?.[0]?.ready,
      ),
    )
    const state = JSON.parse(await world.inNetwork('curl', ['-s', `http://${fresh.status.podIP}:8000/readyz`])) as {
      digest: string
    }
    assert.equal(state.digest, active)
  } finally {
    await world.scaleOperator(1)
  }
  await serves(active, 90)
})

test('a rollback works after the run was deleted', async () => {
  forward.close()
  await release({ base: true })
  await serves('')
  const promoted = second.status?.checkpoints?.find(({ name }) => name === 'checkpoint-60')?.digest ?? ''
  await release({ digest: promoted })
  await serves(promoted)
})
