/** Specs that the API server accepts and nobody can have meant: what serves serves on, and Ready names the field, its value and what was expected. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AdapterReleaseSpec } from '../api/generated/adapterrelease.ts'
import { digestOf, release, run } from './objects.ts'
import { World } from './world.ts'

const [a, b, c] = ['a', 'b', 'c'].map(digestOf) as [string, string, string]
const checkpoint = (name: string, ofRun = 'prose') => ({ source: { run: { name: ofRun, checkpoint: name } } })
const other = checkpoint('checkpoint-12')
const gate = (metric: string, bound: object) => ({
  gates: [{ metric, enforcement: 'Enforce' as const, ...bound }],
})

/** On a release that serves checkpoint-24. */
const strange: { what: string; spec: Partial<AdapterReleaseSpec>; says: RegExp }[] = [
  {
    what: 'a run that is not there',
    spec: checkpoint('Best', 'nope'),
    says: /^False\/RunNotFound: spec\.source\.run\.name: run nope does not exist; expected a QLoRARun of this namespace/,
  },
  {
    what: 'a run that failed',
    spec: checkpoint('Best', 'failed'),
    says: /^False\/RunFailed: run failed failed; name one of its checkpoints/,
  },
  {
    what: 'a checkpoint that the run lacks',
    spec: checkpoint('checkpoint-999'),
    says: /^False\/CheckpointNotFound: spec\.source\.run\.checkpoint: run prose has no checkpoint-999; it has checkpoint-12, checkpoint-24/,
  },
  {
    what: 'a digest that nobody sealed',
    spec: { source: { digest: digestOf('f') } },
    says: /^False\/DigestUnknown: spec\.source\.digest: sha256:f{64} was never served by a release of this namespace and is no checkpoint/,
  },
  {
    what: 'a review in which nothing is approved',
    spec: { ...other, review: { required: true } },
    says: new RegExp(
      `^False/ReviewPending: .* is in runs/team/prose/prose-uid/report\\.html on claim humanizer; spec\\.review\\.approvedDigest is not set, expected ${a};`,
    ),
  },
  {
    what: 'the approval of the adapter of another run',
    spec: { ...other, review: { required: true, approvedDigest: c, approvedBy: 'ann' } },
    says: new RegExp(`^False/ReviewPending: .* spec\\.review\\.approvedDigest is ${c}, expected ${a};`),
  },
  {
    what: 'the rejection of what it asks for',
    spec: { ...other, review: { required: false, rejectedDigest: a } },
    says: /^False\/Rejected: prose\/checkpoint-12 \(sha256:a+…\) was refused: spec\.review\.rejectedDigest is its digest/,
  },
  {
    what: 'a dry run of what waits for a review',
    spec: { ...other, dryRun: true, review: { required: true } },
    says: /^False\/ReviewPending: /,
  },
  {
    what: 'a dry run of what was approved',
    spec: { ...other, dryRun: true, review: { required: true, approvedDigest: a } },
    says: /^False\/DryRun: .* spec\.dryRun is true; without it, it would serve/,
  },
  {
    what: 'a metric that does not exist',
    spec: { ...other, ...gate('evalLos', { max: '2' }) },
    says: /^False\/GateInconclusive: .* no run measures evalLos, expected evalLoss, humanLoss or a name of status\.checkpoints\[\]\.metrics.*; to let it through, spec\.review\.approvedDigest is not set, expected sha256:a{64};/,
  },
  {
    what: 'a regression of a metric that has no better',
    spec: { ...other, ...gate('lengthRatio', { maxRegression: '0', against: 'Baseline' }) },
    says: /^False\/GateError: .* no telling which way lengthRatio is better; expected min or max in the place of maxRegression/,
  },
]
for (const { what, spec, says } of strange)
  test(`of ${what} Ready says so in words, and what serves serves on`, async () => {
    const world = new World(release())
    world.runs.push(run({ name: 'failed', uid: 'failed-uid', ended: 'False' }))
    await world.settle()
    world.edit(spec)
    await world.settle()
    const ready = world.object.status?.conditions?.find(({ type }) => type === 'Ready')
    assert.match(`${world.ready()}: ${ready?.message}`, says)
    assert.match(ready?.message ?? '', /; prose\/checkpoint-24 \(sha256:b+…\) serves$/)
    assert.deepEqual([world.object.status?.active?.digest, world.pods[0]?.state.digest], [b, b])
  })

test('the rejection of what serves goes back, to the base where nothing served before', async () => {
  const world = new World(release())
  await world.settle()
  world.edit({ review: { required: false, rejectedDigest: b } })
  await world.settle()
  assert.equal(world.ready(), 'False/RolledBack')
  assert.match(world.object.status?.verdict?.message ?? '', /^Rejected: spec\.review\.rejectedDigest is its digest$/)
  assert.deepEqual([world.object.status?.active?.digest, world.pods[0]?.state.digest], ['', ''])
})

for (const value of [' ', 'today', 'a\nb', '🙂'.repeat(100), 'x'.repeat(500), '1970-01-01T00:00:00Z'])
  test(`a drill that is asked for with ${JSON.stringify(value).slice(0, 24)} is one drill`, async () => {
    const world = new World(release(other))
    await world.settle()
    world.edit(checkpoint('Best'))
    await world.settle()
    const { metadata } = world.object
    world.object = {
      ...world.object,
      metadata: { ...metadata, annotations: { 'humanizer.dev/drillRequestedAt': value } },
    }
    await world.settle()
    await world.settle()
    const { requestedAt = '', state } = world.object.status?.drill ?? {}
    assert.deepEqual([state, world.ready()], ['Passed', 'True/Serving'])
    assert.ok([...requestedAt].length <= 64, 'what the CRD allows')
    assert.equal(world.events.filter((event) => event === 'Normal DrillPassed').length, 1)
  })
