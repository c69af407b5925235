import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Health } from './health.ts'

test('health counts what ran on one adapter within the last minute', () => {
  let now = 0
  const health = new Health(() => now)
  for (let n = 1; n <= 100; n++) {
    health.ended('a', n % 10 === 0)
    health.firstToken('a', n / 100)
  }
  health.ended('b', true)
  assert.deepEqual(health.of('a'), { windowSeconds: 60, requests: 100, errors: 10, firstTokenP95Seconds: 0.95 })
  assert.deepEqual(health.of('b'), { windowSeconds: 60, requests: 1, errors: 1, firstTokenP95Seconds: 0 })
  assert.deepEqual(health.of(''), { windowSeconds: 60, requests: 0, errors: 0, firstTokenP95Seconds: 0 })
  health.turnedAway()
  assert.deepEqual(health.totals, { answered: 90, lost: 12 })
  now = 59_000
  health.ended('a', false)
  assert.equal(health.of('a').requests, 101)
  now = 60_000
  assert.deepEqual(health.of('a'), { windowSeconds: 60, requests: 1, errors: 0, firstTokenP95Seconds: 0 })
  assert.deepEqual(health.totals, { answered: 91, lost: 12 }, 'all since the process began')
})
