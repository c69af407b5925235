import assert from 'node:assert/strict'
import { test } from 'node:test'
import { duration, figure, percent } from './figures.ts'

test('times are told in two units at most', () => {
  const told = [0, 59.4, 59.6, 60, 3599, 3600, 5520, 360_000].map(duration)
  assert.deepEqual(told, ['0s', '59s', '1m0s', '1m0s', '59m59s', '1h0m', '1h32m', '100h0m'])
  for (const none of [undefined, -1, Number.NaN, Number.POSITIVE_INFINITY]) assert.equal(duration(none), undefined)
})

test('nothing is 100% before it is done', () => {
  const told = [percent(0, 0), percent(0, 1), percent(199, 200), percent(1, 1)]
  assert.deepEqual(told, ['0%', '0%', '99%', '100%'])
})

test('what is no decimal is absent', () => {
  assert.deepEqual([figure(1.23456, 3), figure(0, 2), figure(-0.001, 1)], ['1.235', '0.00', '-0.0'])
  for (const none of [undefined, Number.NaN, Number.NEGATIVE_INFINITY]) assert.equal(figure(none, 2), undefined)
})
