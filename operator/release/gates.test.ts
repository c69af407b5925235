import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Adapter } from './adapter.ts'
import { type Gate, judge, refusal } from './gates.ts'

const adapter = (metrics: Adapter['metrics'], name = 'prose/checkpoint-24'): Adapter => ({
  name,
  run: 'prose',
  digest: `sha256:${name}`,
  generation: 1,
  ...(metrics && { metrics }),
})
const candidate = { evalLoss: '1.8', baselineLoss: '2.0', datasetDigest: 'd' }
const active = { evalLoss: '1.7', datasetDigest: 'd' }
const max = (bound: string): Gate => ({ metric: 'evalLoss', max: bound, enforcement: 'Enforce' })
const regression = (by: string, against: 'Baseline' | 'Active'): Gate => ({
  metric: 'evalLoss',
  maxRegression: by,
  against,
  enforcement: 'Enforce',
})

const cases: {
  a_gate: string
  gate: Gate
  metrics?: Adapter['metrics']
  serves?: Adapter['metrics'] | 'nothing'
  want: string
}[] = [
  { a_gate: 'passes a loss below its maximum', gate: max('1.9'), want: 'Passed' },
  { a_gate: 'passes a loss equal to its maximum', gate: max('1.8'), want: 'Passed' },
  { a_gate: 'refuses a loss above its maximum', gate: max('1.79'), want: 'GateFailed' },
  { a_gate: 'reads a maximum with an exponent', gate: max('18e-1'), want: 'Passed' },
  { a_gate: 'passes what is better than the baseline', gate: regression('0', 'Baseline'), want: 'Passed' },
  { a_gate: 'demands an improvement when negative', gate: regression('-0.3', 'Baseline'), want: 'GateFailed' },
  { a_gate: 'passes the improvement it demands', gate: regression('-0.1', 'Baseline'), want: 'Passed' },
  { a_gate: 'refuses what is worse than the active one', gate: regression('0.05', 'Active'), want: 'GateFailed' },
  { a_gate: 'allows as much regression as it says', gate: regression('0.2', 'Active'), want: 'Passed' },
  {
    a_gate: 'has nothing to compare with at first',
    gate: regression('0', 'Active'),
    serves: 'nothing',
    want: 'Passed',
  },
  {
    a_gate: 'is inconclusive without a loss',
    gate: max('9'),
    metrics: { datasetDigest: 'd' },
    want: 'GateInconclusive',
  },
  {
    a_gate: 'is inconclusive without a baseline',
    gate: regression('9', 'Baseline'),
    metrics: { evalLoss: '1.8' },
    want: 'GateInconclusive',
  },
  {
    a_gate: 'is inconclusive when the active one was never measured',
    gate: regression('9', 'Active'),
    serves: {},
    want: 'GateInconclusive',
  },
  {
    a_gate: 'does not compare losses of two datasets',
    gate: regression('9', 'Active'),
    serves: { ...active, datasetDigest: 'e' },
    want: 'GateInconclusive',
  },
  { a_gate: 'cannot read NaN', gate: max('9'), metrics: { ...candidate, evalLoss: 'NaN' }, want: 'GateError' },
  { a_gate: 'cannot read an empty loss', gate: max('9'), metrics: { ...candidate, evalLoss: ' ' }, want: 'GateError' },
  {
    a_gate: 'cannot read infinity',
    gate: max('9'),
    metrics: { ...candidate, evalLoss: 'Infinity' },
    want: 'GateError',
  },
]
for (const { a_gate, gate, metrics = candidate, serves = active, want } of cases)
  test(`a gate ${a_gate}`, () => {
    const results = judge(
      [gate],
      adapter(metrics),
      serves === 'nothing' ? undefined : adapter(serves, 'prose/checkpoint-12'),
    )
    assert.equal(refusal(results)?.reason ?? results[0]?.result, want)
    assert.match(results[0]?.message ?? '', /evalLoss|nothing is active/)
  })

test('a measured failure outweighs missing evidence, and a warning outweighs nothing', () => {
  const gates: Gate[] = [regression('9', 'Baseline'), max('1.0'), { ...max('0.5'), enforcement: 'Warn' }]
  const results = judge(gates, adapter({ evalLoss: '1.8' }), undefined)
  assert.deepEqual(
    results.map(({ result }) => result),
    ['Inconclusive', 'Failed', 'Failed'],
  )
  assert.equal(refusal(results)?.reason, 'GateFailed')
  assert.equal(refusal(results.slice(2)), undefined)
})
