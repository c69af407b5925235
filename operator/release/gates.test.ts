import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Adapter } from './adapter.ts'
import { type Gate, judge, objection, policyOf } from './gates.ts'

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
    a_gate: 'holds a loss whose interval holds the maximum',
    gate: max('1.9'),
    metrics: { ...candidate, evalLossInterval: '0.2' },
    want: 'GateInconclusive',
  },
  {
    a_gate: 'passes a loss whose whole interval is below the maximum',
    gate: max('1.9'),
    metrics: { ...candidate, evalLossInterval: '0.1' },
    want: 'Passed',
  },
  {
    a_gate: 'refuses a loss whose whole interval is above the maximum',
    gate: max('1.6'),
    metrics: { ...candidate, evalLossInterval: '0.1' },
    want: 'GateFailed',
  },
  {
    a_gate: 'cannot read an interval that is no decimal',
    gate: max('1.9'),
    metrics: { ...candidate, evalLossInterval: 'wide' },
    want: 'GateError',
  },
  {
    a_gate: 'believes the paired improvement before the losses, and holds what it cannot tell',
    gate: regression('0', 'Baseline'),
    metrics: { ...candidate, figures: [{ name: 'improvement', value: '0.02', low: '-0.01', high: '0.05' }] },
    want: 'GateInconclusive',
  },
  {
    a_gate: 'passes a paired improvement whose interval is above zero',
    gate: regression('0', 'Baseline'),
    metrics: { ...candidate, figures: [{ name: 'improvement', value: '0.02', low: '0.01', high: '0.03' }] },
    want: 'Passed',
  },
  {
    a_gate: 'compares improvements with what serves, intervals in quadrature',
    gate: regression('0.04', 'Active'),
    metrics: { ...candidate, figures: [{ name: 'improvement', value: '0.2', low: '0.17', high: '0.23' }] },
    serves: { ...active, figures: [{ name: 'improvement', value: '0.3', low: '0.26', high: '0.34' }] },
    want: 'GateFailed',
  },
  {
    a_gate: 'cannot tell when the quadrature holds the limit',
    gate: regression('0.06', 'Active'),
    metrics: { ...candidate, figures: [{ name: 'improvement', value: '0.2', low: '0.17', high: '0.23' }] },
    serves: { ...active, figures: [{ name: 'improvement', value: '0.3', low: '0.26', high: '0.34' }] },
    want: 'GateInconclusive',
  },
  {
    a_gate: 'refuses what copies its input',
    gate: { metric: 'copyRate', max: '0.5', enforcement: 'Enforce' },
    metrics: { ...candidate, figures: [{ name: 'copyRate', value: '0.9', low: '0.8', high: '0.95' }] },
    want: 'GateFailed',
  },
  {
    a_gate: 'passes a minimum that the interval clears',
    gate: { metric: 'rougeL', min: '0.5', enforcement: 'Enforce' },
    metrics: { ...candidate, figures: [{ name: 'rougeL', value: '0.6', low: '0.55', high: '0.65' }] },
    want: 'Passed',
  },
  {
    a_gate: 'refuses what is below its minimum',
    gate: { metric: 'rougeL', min: '0.7', enforcement: 'Enforce' },
    metrics: { ...candidate, figures: [{ name: 'rougeL', value: '0.6', low: '0.55', high: '0.65' }] },
    want: 'GateFailed',
  },
  {
    a_gate: 'knows that a higher overlap is better',
    gate: { metric: 'rougeL', maxRegression: '0.05', against: 'Baseline', enforcement: 'Enforce' },
    metrics: { ...candidate, figures: [{ name: 'rougeL', value: '0.6', baseline: '0.7' }] },
    want: 'GateFailed',
  },
  {
    a_gate: 'passes an overlap that rose',
    gate: { metric: 'rougeL', maxRegression: '0', against: 'Baseline', enforcement: 'Enforce' },
    metrics: { ...candidate, figures: [{ name: 'rougeL', value: '0.8', baseline: '0.7' }] },
    want: 'Passed',
  },
  {
    a_gate: 'cannot compare a metric without a better way',
    gate: { metric: 'lengthRatio', maxRegression: '0', against: 'Baseline', enforcement: 'Enforce' },
    metrics: { ...candidate, figures: [{ name: 'lengthRatio', value: '0.8', baseline: '0.7' }] },
    want: 'GateError',
  },
  {
    a_gate: 'is inconclusive about a metric that nobody measures',
    gate: { metric: 'bleu', min: '0.5', enforcement: 'Enforce' },
    want: 'GateInconclusive',
  },
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
    assert.equal(objection(results)?.reason ?? results[0]?.result, want)
    assert.match(results[0]?.message ?? '', /evalLoss|copyRate|rougeL|lengthRatio|bleu|nothing is active/)
  })

test('a measured failure outweighs missing evidence, and a warning outweighs nothing', () => {
  const gates: Gate[] = [regression('9', 'Baseline'), max('1.0'), { ...max('0.5'), enforcement: 'Warn' }]
  const results = judge(gates, adapter({ evalLoss: '1.8' }), undefined)
  assert.deepEqual(
    results.map(({ result }) => result),
    ['Inconclusive', 'Failed', 'Failed'],
  )
  assert.equal(objection(results)?.reason, 'GateFailed')
  assert.equal(objection(results.slice(2)), undefined)
})

test('the gates read as a sentence', () => {
  assert.equal(
    policyOf([
      max('1.9'),
      regression('0', 'Active'),
      { metric: 'rougeL', min: '0.5', enforcement: 'Enforce' },
      regression('-0.1', 'Baseline'),
      { metric: 'copyRate', maxRegression: '0.05', against: 'Baseline', enforcement: 'Warn' },
    ]),
    'An adapter serves if evalLoss is at most 1.9, and evalLoss is no worse than that of what serves, and rougeL is at least 0.5, ' +
      'and evalLoss is better than that of the baseline by at least 0.1; it is only noted whether copyRate is worse than that of the ' +
      'baseline by at most 0.05.',
  )
})
