import assert from 'node:assert/strict'
import { test } from 'node:test'
import { metricDirections } from '../../operator/api/metrics.ts'
import { metricKinds } from '../../trainer-image/evaluate/metrics.ts'

test('the operator knows the metrics of the trainer, and which way each is better', () => {
  assert.deepEqual(
    metricDirections,
    Object.fromEntries(Object.entries(metricKinds).map(([name, { better }]) => [name, better])),
  )
})
