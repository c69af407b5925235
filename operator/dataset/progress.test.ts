import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PreparationProgress } from '#proto/humanizer/trainer/v1/preparation.ts'
import { decide } from './decide.ts'
import { specHash } from './prepare-config.ts'
import { progressAfter } from './progress.ts'
import { statusAfter } from './status.ts'
import { base, observed, start } from './world.ts'

const at = (seconds: number): Date => new Date(start.getTime() + seconds * 1000)
const told = (fields: Partial<PreparationProgress>) =>
  PreparationProgress.fromPartial({ stage: 'Cleaning', source: 'prose', rows: 10, percent: 31.5, ...fields })

test('what a pod tells is shown as a person reads it', () => {
  assert.deepEqual(progressAfter(undefined, told({ bytes: 5, totalBytes: 9, remainingSeconds: 5520 }), at(0)), {
    stage: 'Cleaning',
    source: 'prose',
    rows: 10,
    bytes: 5,
    totalBytes: 9,
    percent: '31%',
    remaining: '1h32m',
    updateTime: '2026-01-01T00:00:00Z',
  })
  assert.deepEqual(progressAfter(undefined, told({ source: '', percent: 120 }), at(0)), {
    stage: 'Cleaning',
    rows: 10,
    bytes: 0,
    percent: '100%',
    updateTime: '2026-01-01T00:00:00Z',
  })
})

test('a pod that tells something new every second is written six times a minute, and once more for each new stage', () => {
  let shown: ReturnType<typeof progressAfter> | undefined
  let writes = 0
  for (let second = 0; second < 60; second++) {
    const stage = second < 35 ? 'Cleaning' : 'Deduplicating'
    const next = progressAfter(shown, told({ stage, rows: second, percent: second }), at(second))
    if (next !== shown) writes++
    shown = next
  }
  assert.equal(writes, 7)
})

const open = {
  ...base,
  status: { attempts: [{ number: 1, specHash: specHash(base.spec), startTime: '2026-01-01T00:00:00Z' }] },
}
const running = { kind: 'running', pod: { name: 'p', uid: 'u', ready: true, since: start } } as const

test('progress stands while an attempt works, stays through silence, and goes when the attempt ends', () => {
  const heard = statusAfter(open, decide(open, observed(running, { progress: told({}) }), at(5)), at(5))
  assert.equal(heard.progress?.percent, '31%')
  const after = { ...open, status: heard }
  assert.deepEqual(statusAfter(after, decide(after, observed(running), at(30)), at(30)).progress, heard.progress)
  const ended = { kind: 'ended', ending: { kind: 'failed', reason: 'NotFound', message: 'words' } } as const
  assert.equal(statusAfter(after, decide(after, observed(ended), at(40)), at(40)).progress, undefined)
})
