import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import type { Cluster } from '../kube/cluster.ts'
import { ownWords } from './heard.ts'
import { digestOf, release, start } from './objects.ts'
import { observe } from './observe.ts'
import { podTrouble } from './pods.ts'
import { noProbes } from './probes.ts'

const nothingAsked = { called: new Set<string>(), silent: new Set<string>(), probes: noProbes }

/** A cluster with these pods; remembers what was read. */
function cluster(pods: object[] = []) {
  const read: string[] = []
  const fake = {
    get: async ({ kind, name }: { kind: string; name: string }) => {
      read.push(`${kind} ${name}`)
      return undefined
    },
    list: async ({ kind }: { kind: string }) => {
      read.push(kind)
      return kind === 'Pod' ? pods : []
    },
  }
  const asked: string[] = []
  const caller = {
    state: async ({ uid }: { uid: string }) => {
      asked.push(uid)
      return { state: ServingState.fromPartial({ podUid: 'u' }) }
    },
    activate: async () => undefined,
    ask: async () => undefined,
  }
  const look = (of = release(), silent: string[] = []) =>
    observe(of, fake as unknown as Cluster, caller, { ...nothingAsked, silent: new Set(silent) }, start)
  return { read, asked, look }
}

const digest = digestOf('c')
const history = [{ name: 'old/checkpoint-3', digest, generation: 4 }]
const ofOurs = (read: string[]) => read.filter((what) => /QLoRARun|AdapterRelease/.test(what)).sort()
const cases = [
  { what: 'the one run that it names', of: release(), reads: ['QLoRARun prose'] },
  { what: 'nothing for a digest it has served', of: release({ source: { digest } }, { history }), reads: [] },
  { what: 'nothing for the base', of: release({ source: { base: true } }), reads: [] },
  { what: 'all for a digest', of: release({ source: { digest } }), reads: ['AdapterRelease', 'QLoRARun'] },
]
for (const { what, of, reads } of cases)
  test(`of runs and releases a release reads ${what}`, async () => {
    const { read, look } = cluster()
    await look(of)
    assert.deepEqual(ofOurs(read), reads)
  })

const pod = (container: object, conditions: object[] = [], others: object[] = []) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'writer-0', uid: 'u' },
  status: {
    podIP: '10.0.0.1',
    conditions,
    containerStatuses: [...others, { name: 'humanizer', restartCount: 3, ...container }],
  },
})
const running = { state: { running: {} } }
const ended = (exitCode: number, message: string) => ({ lastState: { terminated: { exitCode, message } } })
const gone = JSON.stringify({ ownerUid: 'o', reason: 'NotFound', message: '/data/models/m: there is no such model' })
const troubles = [
  {
    what: 'that ended because its base model is gone lacks an artifact',
    of: pod({ state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off' } }, ...ended(66, gone) }),
    kind: 'artifact',
    says: 'pod writer-0: CrashLoopBackOff: back-off: last exit 66 NotFound: /data/models/m: there is no such model',
  },
  {
    what: 'that has just been started again still says why it ended',
    of: pod({ ...running, ...ended(66, gone) }),
    kind: 'artifact',
    says: 'pod writer-0: last exit 66 NotFound: /data/models/m: there is no such model',
  },
  {
    what: 'that ended without a result has its exit code',
    of: pod({ ...running, ...ended(137, 'Killed') }),
    kind: 'container',
    says: 'pod writer-0: last exit 137 Killed',
  },
  {
    what: 'whose image is not there has the words of the kubelet',
    of: pod({ state: { waiting: { reason: 'ErrImagePull', message: 'not found' } } }),
    kind: 'container',
    says: 'pod writer-0: ErrImagePull: not found',
  },
  {
    what: 'whose vLLM cannot be pulled says so, too',
    of: pod(
      running,
      [],
      [{ name: 'vllm', restartCount: 0, state: { waiting: { reason: 'ErrImagePull', message: 'no tag' } } }],
    ),
    kind: 'container',
    says: 'pod writer-0: container vllm: ErrImagePull: no tag',
  },
  {
    what: 'without a node has the words of the scheduler',
    of: pod({}, [{ type: 'PodScheduled', status: 'False', message: '0/1 nodes' }]),
    kind: 'unschedulable',
    says: 'pod writer-0: 0/1 nodes',
  },
  { what: 'that starts is in no trouble', of: pod({ state: { waiting: { reason: 'ContainerCreating' } } }) },
  {
    what: 'that is Ready again is in no trouble',
    of: pod({ ...running, ...ended(66, gone) }, [{ type: 'Ready', status: 'True' }]),
  },
]
for (const { what, of, kind, says } of troubles)
  test(`a pod ${what}`, async () => {
    const { pods } = await cluster([of]).look()
    assert.deepEqual(podTrouble(pods), kind && { kind, message: says })
  })

test('restarts are those of the own container and of vLLM, not those of an agent beside them', async () => {
  const others = [
    { name: 'agent', restartCount: 10 },
    { name: 'vllm', restartCount: 2 },
  ]
  const { pods } = await cluster([pod(running, [], others)]).look()
  assert.equal(pods[0]?.restarts, 5)
})

test('a pod that was silent is not asked again', async () => {
  const { asked, look } = cluster([pod(running)])
  assert.equal((await look(release(), ['u'])).pods[0]?.state, undefined)
  assert.deepEqual(asked, [])
  assert.ok((await look()).pods[0]?.state)
})

test('the answer of another pod, of an earlier container or of the future is no answer', () => {
  const state = ServingState.fromPartial({ podUid: 'u', digest: 'd', loadedTime: '2026-01-01T00:00:05.200Z' })
  const said = (uid: string, startedAt: string | undefined, now = start, of = state) =>
    ownWords({ state: of }, uid, startedAt, now)
  assert.deepEqual(said('u', '2026-01-01T00:00:05Z'), { state })
  assert.deepEqual(said('u', undefined), { state })
  assert.match(said('another', '2026-01-01T00:00:05Z').doubt ?? '', /as pod "u", expected "another"/)
  assert.match(said('u', '2026-01-01T00:00:06Z').doubt ?? '', /before its container started/)
  assert.match(said('u', undefined, new Date('2025-12-31T23:55:05Z')).doubt ?? '', /yet to come/)
  const loading = { ...state, loadedTime: '' }
  assert.deepEqual(said('u', '2026-01-01T00:00:06Z', start, loading), { state: loading })
  assert.deepEqual(ownWords({}, 'u', undefined, start), {})
})
