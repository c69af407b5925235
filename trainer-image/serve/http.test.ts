/** What a client gets and what is counted when a route fails, on a real socket. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import pino from 'pino'
import { ApiError } from './errors.ts'
import { createHttpServer, type Route } from './http.ts'
import { eventStream } from './sse.ts'

const observed: { route: string; status: number }[] = []
const arrived = Promise.withResolvers<void>()
const aborted = Promise.withResolvers<void>()

const routes: Route[] = [
  {
    method: 'POST',
    path: '/bug',
    answer: async () => {
      throw new TypeError('the secret of the house')
    },
  },
  {
    method: 'POST',
    path: '/stream',
    answer: async ({ response }) => {
      eventStream(response).send({ text: 'a' })
      throw new Error('the device is lost')
    },
  },
  {
    method: 'POST',
    path: '/stream-refused',
    answer: async ({ response }) => {
      eventStream(response)
      throw new ApiError(429, 'busy', { type: 'rate_limit_error', headers: { 'retry-after': '1' } })
    },
  },
  {
    method: 'POST',
    path: '/slow',
    answer: async ({ signal }) => {
      arrived.resolve()
      await once(signal, 'abort')
      aborted.resolve()
      throw signal.reason
    },
  },
  { method: 'GET', path: '/page', answer: ({ text }) => text(200, 'text/plain', 'page') },
]
const draining = new AbortController()
const server = createHttpServer(
  routes,
  (route, status) => observed.push({ route, status }),
  pino({ level: 'silent' }),
  draining.signal,
)
let url: string

before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
after(() => {
  server.close()
  server.closeAllConnections()
})

const ask = (path: string, method = 'POST', signal?: AbortSignal) =>
  fetch(url + path, { method, ...(signal && { signal }) })
/** The socket's end is told a moment after the answer's. */
async function counted(): Promise<{ route: string; status: number } | undefined> {
  while (observed.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  return observed.shift()
}

test('a bug is a 500 with the error object, and its words stay in the log', async () => {
  const answer = await ask('/bug')
  const { error } = (await answer.json()) as { error: { message: string; type: string; code: string } }
  assert.deepEqual([answer.status, error.type, error.code], [500, 'server_error', 'internal_error'])
  assert.doesNotMatch(error.message, /secret/)
  assert.deepEqual(await counted(), { route: '/bug', status: 500 })
})

test('a stream that fails on its way ends with the error object instead of [DONE], and counts as failed', async () => {
  const answer = await ask('/stream')
  const events = (await answer.text()).trim().split('\n\n')
  assert.equal(answer.status, 200)
  assert.equal(events.length, 2)
  assert.equal(events[0], 'data: {"text":"a"}')
  assert.equal(JSON.parse(events[1]!.replace(/^data: /, '')).error.type, 'server_error')
  assert.deepEqual(await counted(), { route: '/stream', status: 500 })
})

test('a stream that fails before its first event is an error like any other, with its headers', async () => {
  const answer = await ask('/stream-refused')
  assert.deepEqual([answer.status, answer.headers.get('retry-after')], [429, '1'])
  assert.equal(((await answer.json()) as { error: { type: string } }).error.type, 'rate_limit_error')
  assert.deepEqual(await counted(), { route: '/stream-refused', status: 429 })
})

test('a client that leaves aborts its request, which counts as 499', async () => {
  const leaving = new AbortController()
  const asked = ask('/slow', 'POST', leaving.signal)
  await arrived.promise
  leaving.abort()
  await assert.rejects(asked, { name: 'AbortError' })
  await aborted.promise
  assert.deepEqual(await counted(), { route: '/slow', status: 499 })
})

test('a method that a path does not have is told those that it has', async () => {
  const answer = await ask('/page')
  assert.deepEqual([answer.status, answer.headers.get('allow')], [405, 'GET'])
  await counted()
  const head = await ask('/page', 'HEAD')
  assert.deepEqual([head.status, await head.text()], [200, ''])
  await counted()
})

test('once the server drains every answer closes its connection', async () => {
  assert.equal((await ask('/page', 'GET')).headers.get('connection'), 'keep-alive')
  draining.abort()
  assert.equal((await ask('/page', 'GET')).headers.get('connection'), 'close')
})
