import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Checkpoint } from '#proto/humanizer/trainer/v1/run.ts'
import { LiveRun, Requests } from './live-run.ts'

test('a watcher gets the newest report at once, then each change, and nothing it has seen', async () => {
  const live = new LiveRun()
  const hangUp = new AbortController()
  const seen: number[] = []
  const watching = (async () => {
    for await (const { sequence } of live.watch(0, hangUp.signal)) seen.push(sequence)
  })()
  await sleep(1)
  live.update({ exact: false })
  await sleep(1)
  live.warn('slow disk')
  live.warn('slow disk')
  await sleep(1)
  hangUp.abort()
  await watching
  assert.deepEqual(seen, [1, 2, 3])
  assert.deepEqual(live.report.warnings, ['slow disk'])
})

test('a watcher that was away gets only the last of what it missed', async () => {
  const live = new LiveRun()
  for (let i = 0; i < 5; i++) live.update({ resumedFromStep: i })
  const hangUp = new AbortController()
  for await (const { sequence, report } of live.watch(2, hangUp.signal)) {
    assert.deepEqual([sequence, report.resumedFromStep], [6, 4])
    hangUp.abort()
  }
})

test('everyone who asked for a checkpoint gets the same one; later askers wait for the next', async () => {
  const requests = new Requests()
  const asked = [requests.askForCheckpoint(), requests.askForCheckpoint()]
  assert.equal(requests.wantsCheckpoint, true)
  requests.answerCheckpoint(Checkpoint.fromPartial({ step: 7 }))
  assert.deepEqual(
    (await Promise.all(asked)).map(({ step }) => step),
    [7, 7],
  )
  assert.equal(requests.wantsCheckpoint, false)
  const late = requests.askForCheckpoint()
  requests.refuseAll(new Error('the run has ended'))
  await assert.rejects(late, /the run has ended/)
})
