import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { whileAsking } from './probes.ts'

test('every pod is asked while pods switch, until each has answered by the new adapter', async () => {
  const serves = { one: 'old', two: 'old' }
  const answers = { one: new Set<string>(), two: new Set<string>() }
  let asked = 0
  const probes = await whileAsking(
    ['one', 'two'] as const,
    async (pod) => {
      const digest = serves[pod] // as a request stays on what it began with
      await sleep(2)
      asked++
      answers[pod].add(digest)
      return digest
    },
    'new',
    sleep(20).then(() => {
      serves.one = 'new'
      setTimeout(() => {
        serves.two = 'new'
      }, 20)
    }),
  )
  assert.deepEqual(probes, { answered: asked, lost: 0 })
  assert.deepEqual(
    [[...answers.one], [...answers.two]],
    [
      ['old', 'new'],
      ['old', 'new'],
    ],
  )
})

test('a request without an answer is lost, one that is told to come back is not', async () => {
  const answers = [undefined, '']
  const ask = async () => (answers.length > 0 ? answers.shift() : 'new')
  const probes = await whileAsking(['one'], ask, 'new', Promise.resolve())
  assert.equal(probes.lost, 1)
  assert.ok(probes.answered >= 2)
})

test('without pods to ask it is the switch alone, and its failure comes through', async () => {
  const ask = () => assert.fail('nobody is to be asked')
  assert.deepEqual(await whileAsking([], ask, 'new', sleep(1)), { answered: 0, lost: 0 })
  await assert.rejects(
    whileAsking(['one'], async () => 'old', 'new', Promise.reject(new Error('no'))),
    /^Error: no$/,
  )
})
