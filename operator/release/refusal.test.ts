import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReleaseReason } from '../api/release-reasons.ts'
import type { Cluster, KubeObject } from '../kube/cluster.ts'
import { Conflict, errorFrom, Unavailable } from '../kube/errors.ts'
import { applyChildren, retireChildren } from './children.ts'
import { release, start } from './objects.ts'
import { reconcileRelease } from './reconcile.ts'
import { cut } from './text.ts'
import { World } from './world.ts'

const owner = release()
owner.metadata.resourceVersion = '7'
const child: KubeObject = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: {
    name: 'writer-serve',
    namespace: 'team',
    uid: 'u',
    ownerReferences: [{ apiVersion: '', kind: '', name: '', uid: 'release-uid' }],
  },
}

/** A cluster that knows the release and the child, and answers every write with `error`. */
function cluster({
  live = owner as KubeObject | undefined,
  found = child as KubeObject | undefined,
  error = undefined as Error | undefined,
} = {}) {
  const writes: string[] = []
  const write = (what: string) => async (): Promise<void> => {
    writes.push(what)
    if (error) throw error
  }
  const fake = {
    get: async ({ kind }: { kind: string }) => (kind === 'AdapterRelease' ? live : found),
    apply: write('apply'),
    delete: write('delete'),
  }
  return { writes, cluster: fake as unknown as Cluster }
}

const refusals = [
  {
    code: 422,
    body: { message: 'spec.template is invalid' },
    state: 'stalled',
    reason: 'PodInvalid',
    seconds: undefined,
  },
  { code: 400, body: { message: 'field not declared' }, state: 'stalled', reason: 'PodInvalid', seconds: undefined },
  { code: 403, body: { message: 'exceeded quota: none' }, state: 'reconciling', reason: 'Forbidden', seconds: 60 },
]
for (const { code, body, state, reason, seconds } of refusals)
  for (const [what, act] of Object.entries({ apply: applyChildren, delete: retireChildren }))
    test(`a child whose ${what} is answered ${code} makes the release ${state}/${reason}`, async () => {
      const error = errorFrom(code, JSON.stringify(body), 'PATCH /x')
      const refusal = await act(cluster({ error }).cluster, owner, [child])
      assert.equal(refusal?.summary.state, state)
      assert.equal(refusal?.summary.reason, reason)
      assert.equal(refusal?.seconds, seconds)
      assert.match(refusal?.summary.message ?? '', new RegExp(`^Deployment writer-serve: .*${body.message}$`))
    })

test('what is no refusal is thrown', async () => {
  await assert.rejects(
    applyChildren(cluster({ error: new Unavailable(503, 'down') }).cluster, owner, [child]),
    Unavailable,
  )
})

const stale: Record<string, KubeObject | undefined> = {
  'changed meanwhile': { ...owner, metadata: { ...owner.metadata, resourceVersion: '8' } },
  'is being deleted': { ...owner, metadata: { ...owner.metadata, deletionTimestamp: 'now' } },
  'is gone': undefined,
}
for (const [what, live] of Object.entries(stale))
  for (const act of [applyChildren, retireChildren])
    test(`${act.name} does nothing for a release that ${what}`, async () => {
      const { cluster: fake, writes } = cluster({ live, ...(live ? {} : { live: undefined }) })
      const gone = { ...fake, get: async ({ kind }: { kind: string }) => (kind === 'AdapterRelease' ? live : child) }
      await assert.rejects(act(gone as Cluster, owner, [child]), Conflict)
      assert.deepEqual(writes, [])
    })

test('a child of somebody else is not written', async () => {
  const found = { ...child, metadata: { ...child.metadata, ownerReferences: [] } }
  const { cluster: fake, writes } = cluster({ found })
  assert.equal((await applyChildren(fake, owner, [child]))?.summary.reason, 'NameConflict')
  assert.deepEqual(writes, [])
})

test('a refusal is told in the status and by an Event, and what serves goes on', async () => {
  const world = new World()
  await world.settle()
  world.refuse = ({ kind }) =>
    kind === 'Deployment'
      ? { summary: { state: 'reconciling', reason: ReleaseReason.Forbidden, message: 'quota' }, seconds: 60 }
      : undefined
  world.edit({ serving: { port: 8000, replicas: 2 } })
  assert.deepEqual(await reconcileRelease(world.object, world, start), { kind: 'waiting', seconds: 60 })
  assert.equal(world.ready(), 'False/Forbidden')
  assert.equal(world.events.at(-1), 'Normal Forbidden')
  assert.equal(world.object.status?.conditions?.find(({ type }) => type === 'Serving')?.status, 'True')
  world.refuse = () => undefined
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
})

test('a scheduler that says 5,000 characters is cut to what the CRD allows', async () => {
  const world = new World()
  world.full = true
  world.schedulerSays = '∅🚫'.repeat(2500)
  await world.settle()
  assert.equal(world.ready(), 'False/NoCapacity')
  for (const { message } of world.object.status?.conditions ?? []) {
    assert.ok([...message].length <= 1024)
    assert.ok(message.isWellFormed())
  }
})

test('a pod that fails in 5,000 characters is cut too', async () => {
  const world = new World()
  world.broken.add(world.runs[0]?.status?.checkpoints?.[1]?.digest ?? '')
  world.failure = 'x'.repeat(5000)
  await world.settle()
  assert.equal(world.ready(), 'False/LoadFailed')
  assert.equal(world.object.status?.verdict?.message?.length, 1024)
})

test('text is cut by characters and says so', () => {
  assert.equal(cut('abc', 3), 'abc')
  assert.equal(cut('abcd', 3), 'ab…')
  assert.equal(cut('🚫🚫🚫', 3), '🚫🚫🚫')
  assert.equal(cut('🚫🚫🚫🚫', 3), '🚫🚫…')
})

const obstacles = [
  ['ClaimNotFound', '0/1 nodes are available: persistentvolumeclaim "bases" not found.'],
  ['StorageNotShared', "0/2 nodes are available: 2 node(s) didn't match pod affinity rules."],
] as const
for (const [reason, words] of obstacles)
  test(`pods whose volumes no node can have are ${reason}, not NoCapacity`, async () => {
    const world = new World()
    world.full = true
    world.schedulerSays = words
    await world.settle()
    assert.equal(world.ready(), `False/${reason}`)
  })
