import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import { type ChecklistFacts, checklistOf } from './checklist.ts'

const whole: ChecklistFacts = {
  objective: 'sound like us',
  licenses: ['CC0-1.0'],
  trainExamples: 90,
  validationExamples: 10,
  baseline: EvaluationResult.fromPartial({ loss: 2 }),
  configDigest: 'sha256:c',
  best: { name: 'checkpoint-24', digest: 'sha256:a', wrote: true },
  measured: 15,
}
const open = (facts: Partial<ChecklistFacts>): string[] =>
  checklistOf({ ...whole, ...facts })
    .filter(({ done }) => !done)
    .map(({ item }) => item)
const people = ['Deduplication report reviewed', 'Samples reviewed', 'Deployment decided', 'Rollback tested']

test('what only people and releases can do is open at the end of every run', () => {
  assert.deepEqual(open({}), people)
})

const cases: { without: string; facts: Partial<ChecklistFacts>; item: string }[] = [
  { without: 'an objective', facts: { objective: '' }, item: 'Objective defined' },
  { without: "one source's licence", facts: { licenses: ['MIT', ''] }, item: 'Data licences declared' },
  { without: "the dataset's report", facts: { licenses: undefined }, item: 'Data licences declared' },
  { without: 'held-out text', facts: { validationExamples: 0 }, item: 'Split created' },
  { without: 'a baseline', facts: { baseline: undefined }, item: 'Baseline captured' },
  {
    without: 'reading the adapter back',
    facts: { best: { ...whole.best!, wrote: false } },
    item: 'Adapter saved and verified',
  },
  { without: 'a best checkpoint', facts: { best: undefined }, item: 'Adapter saved and verified' },
  { without: 'measured outputs', facts: { measured: 0 }, item: 'Evaluated after training' },
]
for (const { without, facts, item } of cases)
  test(`without ${without} "${item}" is open`, () => {
    assert.deepEqual(open(facts).toSorted(), [...people, item].toSorted())
  })
