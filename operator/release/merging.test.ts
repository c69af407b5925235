import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'
import { ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import type { Ending } from '../workload/ending.ts'
import type { Adapter } from './adapter.ts'
import { digestOf, release, run } from './objects.ts'
import { configName } from './serving.ts'
import { World } from './world.ts'

const [a, b, m] = [digestOf('a'), digestOf('b'), digestOf('f')]
const merged = { path: `merged/${'f'.repeat(64)}`, digest: m }

/** The Job tells that it wrote `digest`. */
const completes = (digest: string): Ending => ({
  kind: 'completed',
  result: JobResult.fromPartial({
    reason: 'Completed',
    merge: { model: merged, adapterDigest: digest, bytes: 1, logitError: 0.00123456, adapterEffect: 0.3 },
  }),
})
const fails = (reason: string): Ending => ({ kind: 'failed', reason, message: 'words' })
const disrupted: Ending = { kind: 'disrupted', message: 'the pod was evicted' }

const latest = { run: { name: 'prose', checkpoint: 'checkpoint-12' } } as const

function world(merges: readonly Ending[], spec: Parameters<typeof release>[0] = {}): World {
  const made = new World(release({ form: 'Merged', ...spec }))
  made.merges = merges
  return made
}

type Shown = Pick<Adapter, 'digest' | 'form' | 'merged'>
const brief = (adapter: Shown | undefined) =>
  adapter && [adapter.digest, adapter.form ?? 'Adapter', adapter.merged?.path]
const deployments = (of: World) => [...of.children.keys()].filter((key) => key.startsWith('Deployment/'))
const candidateMessage = ({ object }: World) =>
  object.status?.conditions?.find(({ type }) => type === 'Ready')?.message ?? ''

test('a merged release is written by a Job and served by pods that load the merged model, unquantised', async () => {
  const seen = world([completes(b)])
  await seen.settle()
  assert.equal(seen.ready(), 'True/Serving')
  assert.deepEqual(brief(seen.object.status?.active), [b, 'Merged', merged.path])
  assert.equal(seen.object.status?.active?.merged?.logitError, '0.00123')
  assert.deepEqual([...seen.jobs.keys()], ['writer-merge-bbbbbbbb-1'], 'it stays for its log')
  const deployment = seen.object.status?.deployment ?? ''
  const data = seen.children.get(`ConfigMap/${configName(deployment)}`)?.['data'] as { 'config.json': string }
  const config = ServeConfig.fromJSON(JSON.parse(data['config.json']))
  assert.deepEqual([config.model?.path, config.model?.digest, config.mergedDigest], [merged.path, m, b])
  assert.equal(config.quantization?.type, 'None')
  assert.deepEqual(seen.events, ['Normal Merging', 'Normal Switching', 'Normal Serving'])
})

test('while the Job works the adapter serves on, and afterwards the two Deployments stand side by side until the new one is up', async () => {
  const seen = world([], { form: 'Adapter' })
  await seen.settle()
  const [old] = deployments(seen)
  seen.edit({ form: 'Merged' })
  await seen.settle()
  assert.equal(seen.ready(), 'False/Merging')
  assert.match(
    candidateMessage(seen),
    /merging prose\/checkpoint-24 .*: pod merger writes it.*; prose\/checkpoint-24 .* serves/,
  )
  assert.deepEqual(deployments(seen), [old])
  assert.deepEqual(brief(seen.object.status?.active), [b, 'Adapter', undefined])
  seen.full = true
  seen.merges = [completes(b)]
  await seen.settle()
  assert.equal(seen.ready(), 'False/NoCapacity')
  assert.equal(deployments(seen).length, 2)
  assert.equal(seen.serviceTo(), old?.replace('Deployment/', ''), 'the old one keeps serving')
  seen.full = false
  await seen.settle()
  assert.equal(seen.ready(), 'True/Serving')
  assert.deepEqual(brief(seen.object.status?.active), [b, 'Merged', merged.path])
  assert.notDeepEqual(deployments(seen), [old])
  assert.equal(deployments(seen).length, 1)
})

test('going back to the form Adapter, or to what was merged before, makes no Job', async () => {
  const seen = world([completes(b)])
  await seen.settle()
  seen.edit({ form: 'Adapter' })
  await seen.settle()
  assert.deepEqual(brief(seen.object.status?.active), [b, 'Adapter', undefined])
  assert.equal(seen.ready(), 'True/Serving')
  seen.edit({ form: 'Merged' })
  await seen.settle()
  assert.deepEqual(brief(seen.object.status?.active), [b, 'Merged', merged.path])
  assert.deepEqual([...seen.jobs.keys()], ['writer-merge-bbbbbbbb-1'])
  assert.deepEqual(
    seen.object.status?.history?.map((each) => each.form ?? 'Adapter'),
    ['Merged', 'Adapter'],
  )
})

test('a merged candidate that pods cannot load is refused and the previous merged weights serve on', async () => {
  const seen = world([completes(b), completes(a)])
  await seen.settle()
  seen.broken.add(a)
  seen.edit({ source: latest })
  await seen.settle()
  assert.equal(seen.ready(), 'False/LoadFailed')
  assert.deepEqual(brief(seen.object.status?.active), [b, 'Merged', merged.path])
})

test('the base has no form', async () => {
  const seen = world([completes(b)])
  await seen.settle()
  seen.edit({ source: { base: true } })
  await seen.settle()
  assert.deepEqual(brief(seen.object.status?.active), ['', 'Adapter', undefined])
  assert.equal(seen.ready(), 'True/Serving')
})

const refusals = [
  { ending: 'a base without 16-bit weights', merges: [fails('SourceInvalid')], jobs: 1, says: /SourceInvalid: words/ },
  {
    ending: 'a merge that computes something else',
    merges: [fails('VerificationFailed')],
    jobs: 1,
    says: /Verification/,
  },
  { ending: 'too little memory', merges: [fails('ContainerOutOfMemory')], jobs: 1, says: /ContainerOutOfMemory/ },
  { ending: 'three bugs in a row', merges: [fails('Internal')], jobs: 3, says: /Internal: words/ },
  {
    ending: 'three results of another adapter',
    merges: [completes(a)],
    jobs: 3,
    says: /no merged model of this adapter/,
  },
]
for (const { ending, merges, jobs, says } of refusals)
  test(`${ending} refuses the candidate, with words`, async () => {
    const seen = world(merges)
    for (let minute = 0; minute < 6; minute++) {
      await seen.settle()
      seen.pass(60)
    }
    assert.equal(seen.ready(), 'False/MergeFailed')
    assert.match(candidateMessage(seen), says)
    assert.deepEqual([...seen.jobs.keys()], [`writer-merge-bbbbbbbb-${jobs}`])
    assert.equal(seen.object.status?.verdict?.state, 'Refused')
  })

test('what time can cure, and disruptions, are tried again and never refuse', async () => {
  const cure = [disrupted, ...Array.from({ length: 6 }, () => fails('StorageFull')), disrupted, completes(b)]
  const seen = world(cure)
  for (let hour = 0; hour < 20; hour++) {
    await seen.settle()
    seen.pass(600)
  }
  assert.equal(seen.ready(), 'True/Serving')
  assert.deepEqual([...seen.jobs.keys()], ['writer-merge-bbbbbbbb-9'])
})

test('a candidate that is given up takes its Job with it', async () => {
  const seen = world([])
  await seen.settle()
  assert.deepEqual([...seen.jobs.keys()], ['writer-merge-bbbbbbbb-1'])
  seen.edit({ source: { run: { name: 'other', checkpoint: 'Best' } } })
  await seen.settle()
  assert.deepEqual([...seen.jobs.keys()], [])
  assert.equal(seen.ready(), 'False/RunNotFound')
  seen.edit({ source: latest })
  await seen.settle()
  assert.deepEqual([...seen.jobs.keys()], ['writer-merge-aaaaaaaa-2'])
})

test('a gate stops a candidate before anything is merged', async () => {
  const seen = world([completes(b)], { gates: [{ metric: 'evalLoss', max: '0.1', enforcement: 'Enforce' }] })
  await seen.settle()
  assert.equal(seen.ready(), 'False/GateFailed')
  assert.equal(seen.jobs.size, 0)
})

for (let effect = 1; effect <= 14; effect++)
  test(`a merged release survives the operator dying after effect ${effect}`, async () => {
    const seen = world([completes(b)])
    seen.dieAt = effect
    await seen.settle()
    await seen.settle()
    assert.equal(seen.ready(), 'True/Serving')
    assert.deepEqual(brief(seen.object.status?.active), [b, 'Merged', merged.path])
    assert.deepEqual([...seen.jobs.keys()], ['writer-merge-bbbbbbbb-1'])
  })

test('a run on a base of another claim is merged from there', async () => {
  const seen = world([])
  seen.runs = [run({ modelClaim: 'bases' })]
  await seen.settle()
  assert.equal(seen.object.status?.candidate?.model?.claimName, 'bases')
  assert.equal(seen.jobs.size, 1)
})
