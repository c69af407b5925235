/** Releases on real pods: switches and rollbacks under load, across runs and after them, and pods that come back by themselves. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { after, before, test } from 'node:test'
import { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import { callPod } from './call.ts'
import { portForward, waitFor } from './kubectl.ts'
import { type Load, startLoad } from './load.ts'
import type { CustomObject, Pod } from './objects.ts'
import { condition, datasetSpec, holds, type Namespace, openWorld, runSpec, type World } from './world.ts'

let world: World
let namespace: Namespace
let first: CustomObject
let second: CustomObject
let forward: { readonly port: number; close(): void }

const digestOf = (run: CustomObject, name: string): string =>
  run.status?.checkpoints?.find((checkpoint) => checkpoint.name === name)?.digest ??
  assert.fail(`${run.metadata.name} has no ${name}`)

const serves = (digest: string, seconds = 120): Promise<CustomObject> =>
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

/** What a serving pod says of itself. */
const stateOf = async ({ status: { podIP } }: Pod): Promise<{ digest: string; generation: number }> =>
  JSON.parse(await world.get(`http://${podIP}:8000/readyz`))

/** What a client sees of the base where an adapter's digest would stand. */
const base = 'base'
const underLoad = (clients: number): Load =>
  startLoad(`http://127.0.0.1:${forward.port}`, clients, { model: 'writer', maxTokens: 8 })

async function noneRestarted(): Promise<void> {
  const restarts = (await servingPods()).flatMap(({ status }) =>
    (status.containerStatuses ?? []).map(({ restartCount }) => restartCount),
  )
  assert.deepEqual(restarts, [0])
}

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
  first = await namespace.ready('qlr', 'first', 300)
  second = await namespace.ready('qlr', 'second', 300)
  await namespace.ready('arl', 'writer')
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

test('twelve switches under load, across two runs and to the base, lose nothing and restart nothing', async (t) => {
  const pods = (await servingPods()).map(({ metadata }) => metadata.uid)
  const begunOn = (await namespace.get('arl', 'writer'))?.status?.active?.digest ?? ''
  const load = underLoad(3)
  const switches = [
    { source: { run: { name: 'first', checkpoint: 'checkpoint-20' } }, digest: digestOf(first, 'checkpoint-20') },
    { source: { run: { name: 'second', checkpoint: 'checkpoint-60' } }, digest: digestOf(second, 'checkpoint-60') },
    { source: { base: true }, digest: '' },
    { source: { digest: digestOf(first, 'checkpoint-20') }, digest: digestOf(first, 'checkpoint-20') },
  ]
  try {
    await load.answeredBy(begunOn, 60)
    for (let round = 0; round < 3; round += 1) {
      for (const { source, digest } of switches) {
        await release(source)
        await serves(digest)
        await load.answeredBy(digest || base, 60)
      }
    }
  } finally {
    await load.stop()
  }
  assert.deepEqual(load.lost, [])
  assert.deepEqual(
    (await servingPods()).map(({ metadata }) => metadata.uid),
    pods,
  )
  await noneRestarted()
  const expected = new Set([begunOn, ...switches.map(({ digest }) => digest || base)])
  for (const { digest } of load.answers) assert.ok(expected.has(digest), `an answer names ${digest}`)
  t.diagnostic(`${load.answers.length} requests were answered, ${load.lost.length} lost`)
})

test('a serving pod refuses calls that are unsigned or signed by a stranger, and serves on what it did', async () => {
  const [pod] = await servingPods()
  const before = await stateOf(pod!)
  assert.equal(before.digest, digestOf(first, 'checkpoint-20'))
  const generation = before.generation + 1
  const other = second.status?.checkpoints?.find(({ name }) => name === 'checkpoint-60')
  const desired = DesiredAdapter.fromPartial({ generation, digest: other!.digest, sourcePath: other!.path })
  const stranger = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const operator = await world.signingKey()
  const ownerUid = (await namespace.get('arl', 'writer'))!.metadata.uid
  const replies = await callPod(world, { pod: pod!, ownerUid }, [
    { method: 'activate', request: { desired }, generation },
    { method: 'activate', request: { desired }, generation, signedWith: stranger },
    { method: 'deactivate', request: { generation }, generation },
    { method: 'deactivate', request: { generation }, generation, signedWith: stranger },
    { method: 'getStatus', request: {}, generation: before.generation, signedWith: operator },
  ])
  const refused = 'UNAUTHENTICATED'
  const codes = replies.map(({ code }) => code)
  assert.deepEqual(codes, [refused, refused, refused, refused, 'OK'], JSON.stringify(replies))
  const after = await stateOf(pod!)
  assert.deepEqual([after.digest, after.generation], [before.digest, before.generation])
})

test('a checkpoint that the finished run lacks stalls the release with words, and the old one serves on', async () => {
  await release({ run: { name: 'first', checkpoint: 'checkpoint-7' } })
  const seen = await namespace.until('arl', 'writer', 'to be Stalled', 180, (object) => holds(object, 'Stalled'))
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
    180,
    (object) =>
      condition(object, 'Ready')?.status === 'False' && /0\.001/.test(condition(object, 'Ready')?.message ?? ''),
  )
  assert.notEqual(seen.status?.active?.digest, other)
  await namespace.patch('arl', 'writer', { gates: [] })
  await serves(other)
})

test('by steps half of the requests go to the candidate, then all of them, and none is lost', async () => {
  // One that never served: a digest that was promoted before takes no steps.
  const [active, candidate] = [digestOf(second, 'checkpoint-40'), digestOf(second, 'checkpoint-20')]
  const load = underLoad(2)
  try {
    await load.answeredBy(active, 60)
    await namespace.patch('arl', 'writer', { strategy: { steps: [{ percent: 50, pauseSeconds: 5 }] } })
    await release({ run: { name: 'second', checkpoint: 'checkpoint-20' } })
    const half = ({ status }: CustomObject): boolean => status?.step?.percent === 50
    const { status } = await namespace.until('arl', 'writer', 'to give half to the candidate', 120, half)
    assert.equal(status?.active?.digest, active)
    await Promise.all([load.answeredBy(active, 60), load.answeredBy(candidate, 60)])
    await serves(candidate)
    await load.answeredBy(candidate, 60)
  } finally {
    await load.stop()
  }
  assert.deepEqual(load.lost, [])
  await namespace.patch('arl', 'writer', { strategy: null })
})

test('a drill under load goes back and comes again, and loses nothing', async (t) => {
  const load = underLoad(2)
  try {
    await load.answeredBy(digestOf(second, 'checkpoint-20'), 60)
    await namespace.kubectl(['annotate', 'arl', 'writer', 'humanizer.dev/drillRequestedAt=today'])
    const over = ({ status }: CustomObject): boolean =>
      ['Passed', 'Failed', 'Refused'].includes(status?.drill?.state ?? '')
    const { status } = await namespace.until('arl', 'writer', 'to end its drill', 120, over)
    assert.equal(status?.drill?.state, 'Passed', status?.drill?.message)
    t.diagnostic(status?.drill?.message ?? '')
    await load.answeredBy(digestOf(second, 'checkpoint-20'), 60)
  } finally {
    await load.stop()
  }
  assert.deepEqual(load.lost, [])
  await release({ run: { name: 'second', checkpoint: 'checkpoint-40' } })
  await serves(digestOf(second, 'checkpoint-40'))
  await noneRestarted()
})

test('a serving pod comes back with the active adapter while the operator is down, and run and dataset are deleted', async () => {
  const active = digestOf(second, 'checkpoint-40')
  await namespace.kubectl(['delete', 'qlr', 'second', '--wait=true'])
  await namespace.kubectl(['delete', 'hds', 'prose', '--wait=true'])
  await world.scaleOperator(0)
  try {
    const [pod] = await servingPods()
    await world.signal(pod!, 'SIGKILL')
    await waitFor('the container to be restarted and ready', 240, async () => {
      const [seen] = await servingPods()
      const status = seen?.status.containerStatuses?.[0]
      return status && status.restartCount >= 1 && status.ready ? true : undefined
    })
    const [again] = await servingPods()
    await namespace.kubectl(['delete', 'pod', again!.metadata.name])
    const fresh = await waitFor('a fresh pod to be ready', 240, async () =>
      (await servingPods()).find(
        ({ metadata, status }) => metadata.uid !== again!.metadata.uid && status.containerStatuses?.[0]?.ready,
      ),
    )
    assert.equal((await stateOf(fresh)).digest, active)
  } finally {
    await world.scaleOperator(1)
  }
  await serves(active)
})

test('a rollback after the run was deleted loses nothing under a steady load', async () => {
  assert.equal(await namespace.get('qlr', 'second'), undefined)
  assert.equal(await namespace.get('hds', 'prose'), undefined)
  forward.close()
  forward = await portForward(world.cluster, 'releases', 'service/writer', 8000)
  const load = underLoad(3)
  const promoted = digestOf(second, 'checkpoint-60')
  try {
    await load.answeredBy(digestOf(second, 'checkpoint-40'), 60)
    await release({ base: true })
    await serves('')
    await load.answeredBy(base, 60)
    await release({ digest: promoted })
    await serves(promoted)
    await load.answeredBy(promoted, 60)
  } finally {
    await load.stop()
  }
  assert.deepEqual(load.lost, [])
  assert.equal(load.answers.at(-1)?.digest, promoted)
  await noneRestarted()
})
