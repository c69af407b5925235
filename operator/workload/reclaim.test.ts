import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import type { Cluster } from '../kube/cluster.ts'
import { Unavailable } from '../kube/errors.ts'
import { release } from '../release/objects.ts'
import { dataset, digestOf, run } from '../run/world.ts'
import { type Reclaimable, reclaimWithSweep, sweepOf } from './reclaim.ts'

type Status = NonNullable<AdapterRelease['status']>
const adapter = (letter: string, runUid: string): NonNullable<Status['active']> => ({
  name: letter,
  digest: digestOf(letter),
  generation: 1,
  path: `runs/team/prose/${runUid}/checkpoint-3`,
})
const of = (status: Status) => sweepOf({ datasets: [], runs: [], releases: [release({}, status)] })

test('a merged model that a release has served stays with its adapter', () => {
  const adapter = { name: 'x', digest: digestOf('a'), generation: 1, form: 'Merged' as const }
  const merged = { path: 'merged/f', digest: digestOf('f') }
  assert.deepEqual(of({ history: [{ ...adapter, merged }] }).liveDigests, [digestOf('a'), digestOf('f')])
})

test('everything that lives stays, and the dataset that a run pinned', () => {
  const pinned = run({}, { datasetDigest: digestOf('e') })
  const data = { ...dataset(), metadata: { name: 'prose', uid: 'dataset-uid' } }
  assert.deepEqual(sweepOf({ datasets: [data], runs: [pinned], releases: [release()] }), {
    liveUids: ['dataset-uid', 'release-uid', 'run-uid'],
    liveDigests: [digestOf('d'), digestOf('e')],
  })
})

const references: { of_a_release: string; status: Status; digests: string[]; uids: string[] }[] = [
  { of_a_release: 'active', status: { active: adapter('a', 'r') }, digests: ['a'], uids: [] },
  { of_a_release: 'previous', status: { previous: adapter('a', 'r') }, digests: ['a'], uids: [] },
  {
    of_a_release: 'history',
    status: { history: [adapter('a', 'r'), adapter('b', 's')] },
    digests: ['a', 'b'],
    uids: [],
  },
  { of_a_release: 'candidate', status: { candidate: adapter('a', 'r') }, digests: ['a'], uids: ['r'] },
  {
    of_a_release: 'candidate that served before',
    status: { candidate: adapter('a', 'r'), history: [adapter('a', 'r')] },
    digests: ['a'],
    uids: [],
  },
  {
    of_a_release: 'pinned source',
    status: { resolved: { run: 'prose', runUID: 'r', checkpoint: 'Best', adapter: adapter('a', 'r') } },
    digests: ['a'],
    uids: ['r'],
  },
]
for (const { of_a_release, status, digests, uids } of references)
  test(`the ${of_a_release} of a release stays${uids.length > 0 ? ', with the run it is copied from' : ''}`, () => {
    assert.deepEqual(of(status), { liveUids: [...uids, 'release-uid'].sort(), liveDigests: digests.map(digestOf) })
  })

test('a digest that a release asks for stays before it was found', () => {
  const { liveDigests } = sweepOf({
    datasets: [],
    runs: [],
    releases: [release({ source: { digest: digestOf('f') } })],
  })
  assert.deepEqual(liveDigests, [digestOf('f')])
})

const listing = (list: (kind: string) => Promise<Reclaimable[]>): Cluster =>
  ({ list: ({ kind }: { kind: string }) => list(kind) }) as unknown as Cluster

test('a Job is told what lives and when its own object was made', async () => {
  const own = { ...run(), metadata: { ...run().metadata, creationTimestamp: '2026-01-01T00:00:00Z' } }
  own.spec.storage.reclaimPolicy = 'Delete'
  const reclaim = await reclaimWithSweep(
    listing(async (kind) => (kind === 'QLoRARun' ? [own] : [])),
    own,
  )
  assert.deepEqual(reclaim, {
    kind: 'QLoRARun',
    policy: 'Delete',
    createdTime: '2026-01-01T00:00:00Z',
    sweep: { liveUids: ['run-uid'], liveDigests: [] },
  })
})

test('one list that cannot be read, or more than a ConfigMap holds, means no sweep and a Job all the same', async () => {
  const down = listing(async (kind) => {
    if (kind === 'AdapterRelease') throw new Unavailable(503, 'down')
    return []
  })
  assert.equal((await reclaimWithSweep(down, run())).sweep, undefined)
  const many = Array.from({ length: 8000 }, (_, i) => ({
    ...run(),
    metadata: { name: `r${i}`, uid: `${i}`.padStart(36, '0') },
  }))
  const reclaim = await reclaimWithSweep(
    listing(async (kind) => (kind === 'QLoRARun' ? many : [])),
    run(),
  )
  assert.deepEqual([reclaim.kind, reclaim.sweep], ['QLoRARun', undefined])
})
