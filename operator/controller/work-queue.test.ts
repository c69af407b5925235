import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { WorkQueue } from './work-queue.ts'

const noJitter = () => 0

/** Takes what is ready now. */
async function take(queue: WorkQueue<string>): Promise<string | undefined> {
  return queue.depth > 0 ? queue.next() : undefined
}

test('a key that is added often is held once, in order of arrival', async () => {
  const queue = new WorkQueue<string>()
  for (const key of ['a', 'b', 'a', 'a', 'c', 'b']) queue.add(key)
  assert.deepEqual(
    [await take(queue), await take(queue), await take(queue), await take(queue)],
    ['a', 'b', 'c', undefined],
  )
})

test('a key is with one worker at a time; added meanwhile, it comes back once when that one is done', async () => {
  const queue = new WorkQueue<string>()
  queue.add('a')
  assert.equal(await queue.next(), 'a')
  queue.add('a')
  queue.add('a')
  assert.equal(await take(queue), undefined)
  queue.done('a')
  assert.equal(await take(queue), 'a')
  queue.done('a')
  assert.equal(await take(queue), undefined)
})

test('a waiting worker gets the next key, and nobody else does', async () => {
  const queue = new WorkQueue<string>()
  const first = queue.next()
  const second = queue.next()
  queue.add('a')
  queue.add('a')
  queue.add('b')
  assert.deepEqual(await Promise.all([first, second]), ['a', 'b'])
  assert.equal(queue.working, 2)
})

test('delayed adds of a key coalesce into the earliest', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const queue = new WorkQueue<string>()
  queue.addAfter('a', 10)
  queue.addAfter('a', 2)
  queue.addAfter('a', 30)
  t.mock.timers.tick(1999)
  assert.equal(queue.depth, 0)
  t.mock.timers.tick(1)
  assert.equal(await take(queue), 'a')
  queue.done('a')
  t.mock.timers.tick(60_000)
  assert.equal(queue.depth, 0)
})

test('taking a key cancels its delayed add', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const queue = new WorkQueue<string>()
  queue.addAfter('a', 10)
  queue.add('a')
  assert.equal(await take(queue), 'a')
  queue.done('a')
  t.mock.timers.tick(60_000)
  assert.equal(queue.depth, 0)
})

test('retries of a key are twice as far apart each time, up to a minute, until it succeeds', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const queue = new WorkQueue<string>(noJitter)
  const delays = Array.from({ length: 12 }, () => queue.retry('a'))
  assert.deepEqual(delays, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60])
  assert.equal(queue.retry('b'), 0.1, 'keys back off each for itself')
  queue.succeeded('a')
  assert.equal(queue.retry('a'), 0.1)
})

test('a key that is forgotten is not worked on', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const queue = new WorkQueue<string>()
  queue.add('a')
  queue.forget('a')
  queue.addAfter('b', 1)
  queue.forget('b')
  t.mock.timers.tick(5000)
  assert.equal(queue.depth, 0)
})

test('a closed queue ends its workers and takes nothing more', async () => {
  mock.timers.reset()
  const queue = new WorkQueue<string>()
  const waiting = queue.next()
  queue.add('a')
  assert.equal(await waiting, 'a')
  queue.add('b')
  const closing = new WorkQueue<string>()
  const waitingForNothing = closing.next()
  closing.close()
  closing.add('c')
  assert.equal(await waitingForNothing, undefined)
  assert.equal(await closing.next(), undefined)
  queue.close()
  assert.equal(await queue.next(), undefined)
  queue.done('a')
})
