import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ChecklistItem } from '../api/checklist.ts'
import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import { checklistOf, datasetItems, isReleaseOf } from './checklist.ts'
import type { Status } from './decide.ts'
import { digestOf, finished, nobody, run, World } from './world.ts'

const dataset = (licenses: readonly (string | undefined)[], counts: object, more = 0) => ({
  spec: {
    sources: Array.from({ length: licenses.length + more }, (_, i) => ({
      name: `s${i}`,
      http: { url: 'http://files/a.csv', sha256: 'a'.repeat(64) },
    })),
  },
  status: {
    sources: licenses.map((license, i) => ({ name: `s${i}`, ...(license && { license }) })),
    counts,
    location: 'datasets/d',
  },
})
const done = (items: readonly ChecklistItem[]): string[] => items.filter(({ done }) => done).map(({ item }) => item)

test("a dataset's items are done only with every licence declared and text held out", () => {
  const items = (...given: Parameters<typeof dataset>) => done(datasetItems(dataset(...given)))
  assert.deepEqual(items(['MIT', 'CC0-1.0'], { train: 9, validation: 1 }), ['DataLicensesVerified', 'SplitCreated'])
  assert.deepEqual(items(['MIT', undefined], { train: 9, validation: 1 }), ['SplitCreated'])
  assert.deepEqual(items(['MIT'], { train: 9, validation: 0 }), ['DataLicensesVerified'])
  assert.deepEqual(items(['MIT'], { train: 9, validation: 1 }, 1), ['SplitCreated'], 'one of two is not in status')
  assert.deepEqual(items([], { train: 9, validation: 0 }, 1), [])
})

const complete: Status = {
  startTime: '2026-01-01T00:00:00Z',
  configDigest: digestOf('c'),
  progress: { step: 30, totalSteps: 30, percent: '100%', updateTime: '2026-01-01T00:00:00Z' },
  baseline: { loss: '2.000000' },
  checkpoints: [
    {
      name: 'checkpoint-30',
      step: 30,
      digest: digestOf('a'),
      path: 'p',
      best: true,
      metrics: [{ name: 'copyRate', value: '0.100000' }],
    },
  ],
  checklist: datasetItems(dataset(['MIT'], { train: 9, validation: 1 })),
}
const people = ['DedupReportReviewed', 'SamplesReviewed', 'DeploymentDecided', 'RollbackTested']

const cases: { given: string; objective?: string; status: Partial<Status>; open: string[] }[] = [
  { given: 'everything that a run can show', status: {}, open: [] },
  { given: 'no objective', objective: '', status: {}, open: ['ObjectiveDefined'] },
  { given: 'no baseline', status: { baseline: {} }, open: ['BaselineCaptured'] },
  {
    given: 'only the loss of its best checkpoint',
    status: { checkpoints: [{ ...complete.checkpoints![0]!, metrics: [{ name: 'improvement', value: '0.1' }] }] },
    open: ['AdapterVerified', 'EvaluatedAfterTraining'],
  },
  {
    given: 'a start by an older operator',
    status: { checklist: [] },
    open: ['DataLicensesVerified', 'SplitCreated'],
  },
]
for (const { given, objective = 'sound like us', status, open } of cases)
  test(`a run with ${given} leaves open what is missing, and what only people and releases do`, () => {
    const items = checklistOf(run({ objective }), { ...complete, ...status }, nobody)
    assert.equal(items.length, 11)
    assert.deepEqual(
      items.flatMap(({ item, done }) => (done ? [] : [item])).toSorted(),
      [...people, ...open].toSorted(),
    )
    assert.ok(items.every(({ evidence }) => evidence !== ''))
  })

test('a run that succeeds has its checklist in status, and it stays as it was', async () => {
  const world = new World(run({ objective: 'x' }), [finished])
  await world.settle()
  const { checklist } = world.object.status!
  assert.ok(done(checklist!).includes('ObjectiveDefined'))
  assert.equal(checklist?.length, 11)
  await world.settle()
  assert.deepEqual(world.object.status?.checklist, checklist)
})

/** A release that served the digest and was asked for a drill. */
function releaseOf(digest: string): AdapterRelease {
  const { metadata } = run()
  return {
    apiVersion: 'humanizer.dev/v1alpha1',
    kind: 'AdapterRelease',
    metadata: { ...metadata, name: 'writer' },
    spec: { review: { required: true, approvedDigest: digest, approvedBy: 'ann' } } as AdapterRelease['spec'],
    status: {
      history: [{ name: 'prose/checkpoint-30', digest, generation: 1, activeSinceTime: '2026-01-02T00:00:00Z' }],
      drill: {
        requestedAt: 'monday',
        state: 'Passed',
        startedTime: '2026-01-03T00:00:00Z',
        from: digest,
        to: '',
        secondsThere: '0.3',
        secondsBack: '0.2',
        lost: 0,
      },
    },
  }
}

test('a finished run hears of the approval of its dataset and of its releases, with who and when, and keeps it when they are gone', async () => {
  const world = new World(run({ objective: 'x' }), [finished])
  await world.settle()
  const people = () =>
    world.object.status!.checklist!.filter(({ item }) =>
      ['DedupReportReviewed', 'SamplesReviewed', 'DeploymentDecided', 'RollbackTested'].includes(item),
    )
  assert.deepEqual(done(people()), [])
  world.releases = [releaseOf(digestOf('c'))]
  await world.settle()
  assert.deepEqual(done(people()), [], 'a release of another adapter')
  assert.equal(isReleaseOf(world.object, releaseOf(digestOf('c'))), false)
  const approved = world.datasets.get('prose')!
  const review = (approvedDigest: string) => ({ required: false, approvedDigest, approvedBy: 'eve' })
  world.datasets.set('prose', { ...approved, spec: { ...approved.spec, review: review(digestOf('x')) } })
  await world.settle()
  assert.deepEqual(done(people()), [], 'the approval of another dataset')

  world.datasets.set('prose', { ...approved, spec: { ...approved.spec, review: review(digestOf('d')) } })
  world.releases = [releaseOf(digestOf('a'))]
  assert.equal(isReleaseOf(world.object, world.releases[0]!), true)
  await world.settle()
  assert.deepEqual(
    people().map(({ done, evidence }) => `${done} ${evidence}`),
    [
      `true ${digestOf('d')} was approved by eve: spec.review of dataset prose`,
      'true sha256:aaaaaaaaaaaa… was approved by ann: spec.review of release writer',
      'true release writer served prose/checkpoint-30 from 2026-01-02T00:00:00Z, let through by its gates',
      'true release writer: drill of 2026-01-03T00:00:00Z Passed, there in 0.3 s, back in 0.2 s, 0 requests lost',
    ],
  )
  const told = people()
  world.datasets.clear()
  world.releases = []
  await world.settle()
  assert.deepEqual(people(), told)
})
