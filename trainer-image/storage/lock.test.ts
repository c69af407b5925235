import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryName } from './atomic.ts'
import { acquireLock, FolderLocked, lockName } from './lock.ts'

const times = { beatEvery: 20, deadAfter: 400 }
let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lock-'))
})
afterEach(() => rmSync(folder, { recursive: true }))
const path = () => join(folder, lockName)

test('half-written beats of a killed holder are swept', async () => {
  writeFileSync(join(folder, temporaryName(lockName)), '')
  const lock = await acquireLock(folder, 'pod-1', undefined, { beatEvery: 60_000, deadAfter: 400 })
  assert.deepEqual(readdirSync(folder), [lockName])
  await lock.release()
  assert.deepEqual(readdirSync(folder), [])
})

test('a released lock is free at once', async () => {
  await (await acquireLock(folder, 'pod-1', undefined, times)).release()
  assert.equal(existsSync(path()), false)
  await (await acquireLock(folder, 'pod-2', undefined, times)).release()
})

test('a living holder keeps others out', async () => {
  const lock = await acquireLock(folder, 'pod-1', undefined, times)
  await assert.rejects(
    acquireLock(folder, 'pod-2', undefined, times),
    (error) => error instanceof FolderLocked && /written by pod pod-1/.test(error.message),
  )
  assert.equal(lock.lost.aborted, false)
  await lock.release()
})

test('a holder that shows no sign of life is waited out', async () => {
  for (const content of ['{"podUid":"pod-dead","beat":7}', '', '{"pod']) {
    writeFileSync(path(), content)
    const lock = await acquireLock(folder, 'pod-2', undefined, times)
    assert.equal(JSON.parse(readFileSync(path(), 'utf8')).podUid, 'pod-2')
    await lock.release()
  }
})

test('a container that starts again in its own pod does not wait', async () => {
  writeFileSync(path(), '{"podUid":"pod-1","beat":7}')
  const began = performance.now()
  const lock = await acquireLock(folder, 'pod-1', undefined, times)
  assert.ok(performance.now() - began < times.deadAfter)
  await lock.release()
})

test('a holder whose lock was taken learns it and leaves the new holder alone', async () => {
  const lock = await acquireLock(folder, 'pod-1', undefined, times)
  writeFileSync(path(), '{"podUid":"pod-2","beat":0}')
  await new Promise((resolve) => lock.lost.addEventListener('abort', resolve))
  assert.match(lock.lost.reason.message, /taken by pod pod-2 from pod-1/)
  await lock.release()
  await sleep(2 * times.beatEvery)
  assert.equal(JSON.parse(readFileSync(path(), 'utf8')).podUid, 'pod-2')
})

test('waiting for a dead holder ends when the job is told to stop', async () => {
  writeFileSync(path(), '{"podUid":"pod-dead","beat":7}')
  await assert.rejects(acquireLock(folder, 'pod-2', AbortSignal.timeout(20), times), { name: 'TimeoutError' })
})
