import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ChecklistItem, checklistOf, datasetItems } from './checklist.ts'
import type { Status } from './decide.ts'
import { digestOf, finished, run, World } from './world.ts'

const dataset = (licenses: readonly (string | undefined)[], counts: object) => ({
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
  assert.deepEqual(items([], { train: 9, validation: 0 }), [])
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
    const items = checklistOf(run({ objective }), { ...complete, ...status })
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
