import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'
import type { Ending } from '../workload/ending.ts'
import { digestOf, release } from './objects.ts'
import { World } from './world.ts'

const [a, b] = [digestOf('a'), digestOf('b')]
const push = {
  artifact: 'Adapter',
  registry: {
    repository: 'ghcr.io/team/writer',
    plainHttp: false,
    secretRef: { name: 'ghcr', key: '.dockerconfigjson' },
  },
} as const
const latest = { run: { name: 'prose', checkpoint: 'checkpoint-12' } } as const
const best = { run: { name: 'prose', checkpoint: 'Best' } } as const

const completes = (digest: string): Ending => ({
  kind: 'completed',
  result: JobResult.fromPartial({
    reason: 'Completed',
    push: { digest, reference: `ghcr.io/team/writer@${digestOf('9')}`, files: 5, present: 0 },
  }),
})
const fails = (reason: string, message = 'words'): Ending => ({ kind: 'failed', reason, message })
const disrupted: Ending = { kind: 'disrupted', message: 'the pod was evicted' }

function world(pushes: readonly Ending[], spec: Parameters<typeof release>[0] = { push }): World {
  const made = new World(release(spec))
  made.pushes = pushes
  return made
}
const condition = ({ object }: World) => object.status?.conditions?.find(({ type }) => type === 'Pushed')
const pushedOf = (seen: World): string => `${condition(seen)?.status}/${condition(seen)?.reason}`
const jobs = (seen: World): string[] => [...seen.jobs.keys()]

test('what became active is pushed once, and status says what to pull', async () => {
  const seen = world([completes(b)])
  await seen.settle()
  assert.equal(seen.ready(), 'True/Serving')
  assert.equal(pushedOf(seen), 'True/Pushed')
  assert.equal(condition(seen)?.message, `ghcr.io/team/writer@${digestOf('9')}`)
  const [entry, ...others] = seen.object.status?.pushed ?? []
  assert.deepEqual(
    [entry?.digest, entry?.artifact, entry?.destination, others.length],
    [b, 'Adapter', 'ghcr.io/team/writer', 0],
  )
  assert.deepEqual(jobs(seen), ['writer-push-bbbbbbbb-1'], 'it stays for its log')
  seen.pass(86_400)
  await seen.settle()
  assert.equal(seen.object.status?.push?.number, 1)
  assert.deepEqual(seen.events, ['Normal Switching', 'Normal Serving', 'Normal Pushing', 'Normal Pushed'])
})

test('without spec.push, and for the base, there is no condition and no Job', async () => {
  for (const spec of [{}, { push, source: { base: true } }] as const) {
    const seen = world([completes(b)])
    seen.object = { ...seen.object, spec: { ...seen.object.spec, push: undefined! } }
    await seen.settle()
    seen.edit(spec)
    await seen.settle()
    assert.equal(seen.ready(), 'True/Serving')
    assert.deepEqual([condition(seen), jobs(seen)], [undefined, []])
  }
})

test('while the Job works the release is Ready, and what comes next is not held up', async () => {
  const seen = world([])
  await seen.settle()
  assert.equal(seen.ready(), 'True/Serving')
  assert.equal(pushedOf(seen), 'Unknown/Pushing')
  assert.match(
    condition(seen)?.message ?? '',
    /^pushing prose\/checkpoint-24 .* to ghcr.io\/team\/writer: pod merger sends it$/,
  )
  seen.edit({ source: latest })
  await seen.settle()
  assert.equal(seen.object.status?.active?.digest, a)
  assert.deepEqual(jobs(seen), ['writer-push-bbbbbbbb-1'], 'what was begun is followed to its end')
  seen.pushes = [completes(b), completes(a)]
  await seen.settle()
  assert.deepEqual(
    seen.object.status?.pushed?.map(({ digest }) => digest),
    [a, b],
  )
  assert.equal(pushedOf(seen), 'True/Pushed')
  seen.edit({ source: best })
  await seen.settle()
  assert.deepEqual([pushedOf(seen), seen.object.status?.push?.number], ['True/Pushed', 2], 'a rollback pushes nothing')
})

test('a failure is a condition and an Event, tried again after a growing wait, and Ready stays', async () => {
  const seen = world([fails('AccessDenied', 'the registry answered 401'), fails('Unavailable'), completes(b)])
  await seen.settle()
  assert.equal(seen.ready(), 'True/Serving')
  assert.equal(pushedOf(seen), 'False/PushFailed')
  assert.match(condition(seen)?.message ?? '', /failed once: AccessDenied: the registry answered 401; tried again$/)
  seen.pass(19)
  await seen.settle()
  assert.deepEqual(jobs(seen), ['writer-push-bbbbbbbb-1'])
  seen.pass(1)
  await seen.settle()
  assert.deepEqual(jobs(seen), ['writer-push-bbbbbbbb-2'])
  assert.match(condition(seen)?.message ?? '', /failed 2 times: Unavailable: words/)
  seen.pass(39)
  await seen.settle()
  assert.deepEqual(jobs(seen), ['writer-push-bbbbbbbb-2'])
  seen.pass(1)
  await seen.settle()
  assert.equal(pushedOf(seen), 'True/Pushed')
  assert.deepEqual([seen.object.status?.push?.failures, seen.object.status?.push?.reason], [0, undefined])
  assert.deepEqual(seen.events.slice(2), ['Normal Pushing', 'Warning PushFailed', 'Normal Pushed'])
})

const waits = [
  { ending: fails('VerificationFailed'), seconds: 3600 },
  { ending: fails('ConfigurationInvalid'), seconds: 3600 },
  { ending: fails('ResultMissing'), seconds: 20 },
  { ending: completes(a), seconds: 20 },
  { ending: disrupted, seconds: 10 },
]
for (const { ending, seconds } of waits)
  test(`after ${JSON.stringify(ending).slice(0, 50)} the next attempt waits ${seconds} seconds`, async () => {
    const seen = world([ending])
    await seen.settle()
    seen.pass(seconds - 1)
    await seen.settle()
    assert.deepEqual(jobs(seen), ['writer-push-bbbbbbbb-1'])
    seen.pass(1)
    await seen.settle()
    assert.deepEqual(jobs(seen), ['writer-push-bbbbbbbb-2'])
  })

test('a Secret that is not there yet is told, and it goes on when it is', async () => {
  const seen = world([completes(b)])
  seen.jobsWait = { kind: 'pending', reason: 'SecretMissing', message: 'it needs Secret ghcr' }
  await seen.settle()
  await seen.settle()
  assert.deepEqual([seen.ready(), pushedOf(seen)], ['True/Serving', 'False/SecretMissing'])
  assert.match(condition(seen)?.message ?? '', /it needs Secret ghcr/)
  seen.jobsWait = undefined
  await seen.settle()
  assert.equal(pushedOf(seen), 'True/Pushed')
  assert.deepEqual(jobs(seen), ['writer-push-bbbbbbbb-1'])
})

test('a Job that the API server refuses leaves Ready alone', async () => {
  const seen = world([completes(b)])
  seen.refusePush = {
    summary: { state: 'reconciling', reason: 'Forbidden', message: 'Job x: exceeded quota' },
    seconds: 60,
  }
  await seen.settle()
  assert.deepEqual([seen.ready(), pushedOf(seen)], ['True/Serving', 'False/PushFailed'])
  assert.match(condition(seen)?.message ?? '', /Forbidden: Job x: exceeded quota/)
  seen.refusePush = undefined
  seen.pass(20)
  await seen.settle()
  assert.equal(pushedOf(seen), 'True/Pushed')
})

test('another spec.push gives up the attempt under way and what was pushed elsewhere does not count', async () => {
  const seen = world([])
  await seen.settle()
  const elsewhere = { ...push, registry: { ...push.registry, repository: 'quay.io/team/writer' } }
  seen.pushes = [completes(b)]
  seen.edit({ push: elsewhere })
  await seen.settle()
  assert.deepEqual(jobs(seen), ['writer-push-bbbbbbbb-2'])
  assert.equal(pushedOf(seen), 'True/Pushed')
  seen.edit({ push: { ...elsewhere, artifact: 'AdapterGGUF' } })
  await seen.settle()
  assert.deepEqual(
    seen.object.status?.pushed?.map(({ artifact, destination }) => [artifact, destination]),
    [
      ['AdapterGGUF', 'quay.io/team/writer'],
      ['Adapter', 'quay.io/team/writer'],
    ],
  )
})

test('spec.push is no reason to judge a candidate again', async () => {
  const seen = world([], { gates: [{ metric: 'evalLoss', max: '0.1', enforcement: 'Enforce' }] })
  await seen.settle()
  const judged = seen.object.status?.verdict?.judged
  assert.ok(judged)
  seen.edit({ push })
  await seen.settle()
  assert.equal(seen.object.status?.verdict?.judged, judged)
})

test('a push and a merge do not clear each other away', async () => {
  const seen = world([])
  await seen.settle()
  seen.edit({ form: 'Merged', source: latest })
  await seen.settle()
  assert.deepEqual(jobs(seen), ['writer-push-bbbbbbbb-1', 'writer-merge-aaaaaaaa-1'])
})

for (let effect = 1; effect <= 14; effect++)
  test(`a push survives the operator dying after effect ${effect}`, async () => {
    const seen = world([completes(b)])
    seen.dieAt = effect
    await seen.settle()
    await seen.settle()
    assert.deepEqual(
      [seen.ready(), pushedOf(seen), jobs(seen)],
      ['True/Serving', 'True/Pushed', ['writer-push-bbbbbbbb-1']],
    )
  })
