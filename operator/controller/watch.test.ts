import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import type { KubeObject } from '../kube/cluster.ts'
import { Gone, Unavailable } from '../kube/errors.ts'
import { createMetrics } from '../kube/metrics.ts'
import type { Line, WatchSource } from '../kube/watch-source.ts'
import { Watcher } from './watch.ts'

const object = (name: string, resourceVersion: string, uid = name): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'Thing' },
  metadata: { name, namespace: 'a', uid, resourceVersion },
})

type Page = Awaited<ReturnType<WatchSource['list']>>
type Round = (onLine: (line: Line) => void, signal: AbortSignal) => Promise<void>

/** A source that plays lists and rounds in order, the last round for ever, and remembers where each round began. */
async function play(script: { lists: (Page | Error)[]; rounds: Round[] }, until: (told: string[]) => boolean) {
  const told: string[] = []
  const begins: string[] = []
  const stop = new AbortController()
  const source: WatchSource = {
    list: async () => {
      const page = script.lists.shift() ?? new Unavailable(0, 'no more lists')
      if (page instanceof Error) throw page
      return page
    },
    watch: async (resourceVersion, _seconds, onLine, signal) => {
      begins.push(resourceVersion)
      await script.rounds[Math.min(begins.length, script.rounds.length) - 1]!(onLine, signal)
    },
  }
  const watcher = new Watcher({
    source,
    kind: 'Thing',
    keep: 'objects',
    log: pino({ level: 'silent' }),
    metrics: createMetrics(),
    onChange: ({ metadata }, gone) => {
      told.push(`${gone ? '-' : '+'}${metadata.name}@${metadata.resourceVersion}`)
    },
  })
  const running = watcher.run(stop.signal)
  const deadline = performance.now() + 10_000
  while (!until(told) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 5))
  stop.abort()
  await running
  return { told, begins, watcher }
}

const page = (resourceVersion: string, items: KubeObject[], next?: string): Page => ({ items, resourceVersion, next })
const idle: Round = (_onLine, signal) =>
  new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
const lines =
  (...given: Line[]): Round =>
  async (onLine) => {
    for (const line of given) onLine(line)
  }
const gone: Line = { type: 'ERROR', error: new Gone(410, 'too old') }

test('a list of several pages is one list', async () => {
  const lists = [page('9', [object('a', '1')], 'more'), page('9', [object('b', '2')])]
  const { told, begins } = await play({ lists, rounds: [idle] }, (told) => told.length === 2)
  assert.deepEqual(told, ['+a@1', '+b@2'])
  assert.deepEqual(begins, ['9'])
})

test('a list whose later page is too old starts again and tells nothing twice', async () => {
  const lists = [
    page('9', [object('a', '1')], 'more'),
    new Gone(410, 'token too old'),
    page('12', [object('a', '1'), object('b', '11')]),
  ]
  const { told, begins } = await play({ lists, rounds: [idle] }, (told) => told.length === 2)
  assert.deepEqual(told, ['+a@1', '+b@11'])
  assert.deepEqual(begins, ['12'])
})

test('a bookmark moves the place to go on from', async () => {
  const bookmark: Line = { type: 'BOOKMARK', object: object('', '50') }
  const rounds = [lines(bookmark), lines({ type: 'ADDED', object: object('a', '51') }), idle]
  const { begins } = await play({ lists: [page('9', [])], rounds }, (told) => told.length === 1)
  assert.deepEqual(begins.slice(0, 2), ['9', '50'])
})

test('after 410 in the stream the rest of the stream is not believed', async () => {
  const rounds = [lines(gone, { type: 'ADDED', object: object('late', '10') }), idle]
  const lists = [page('9', []), page('20', [object('a', '19')])]
  const { told } = await play({ lists, rounds }, (told) => told.includes('+a@19'))
  assert.deepEqual(told, ['+a@19'])
})

test('an older state than the one we wrote ourselves is not told', async () => {
  const rounds: Round[] = [
    async (onLine, signal) => {
      await new Promise((resolve) => setTimeout(resolve, 50))
      onLine({ type: 'MODIFIED', object: object('a', '2') })
      onLine({ type: 'MODIFIED', object: object('a', '3') })
      onLine({ type: 'MODIFIED', object: object('a', '4') })
      return idle(onLine, signal)
    },
  ]
  let noted = false
  const { told } = await playNoting(rounds, (watcher) => {
    if (!noted) watcher.note(object('a', '3'))
    noted = true
  })
  assert.deepEqual(told, ['+a@1', '+a@3', '+a@4'])
})

async function playNoting(rounds: Round[], note: (watcher: Watcher) => void) {
  const told: string[] = []
  const stop = new AbortController()
  let round = 0
  const watcher = new Watcher({
    source: {
      list: async () => page('1', [object('a', '1')]),
      watch: (_version, _seconds, onLine, signal) => rounds[Math.min(round++, rounds.length - 1)]!(onLine, signal),
    },
    ...{ kind: 'Thing', keep: 'objects', log: pino({ level: 'silent' }), metrics: createMetrics() },
    onChange: ({ metadata }) => {
      told.push(`+${metadata.name}@${metadata.resourceVersion}`)
    },
  })
  const running = watcher.run(stop.signal)
  await watcher.whenSynced
  note(watcher)
  await new Promise((resolve) => setTimeout(resolve, 200))
  stop.abort()
  await running
  return { told }
}

test('an own write to an object that is gone does not bring it back', async () => {
  const rounds: Round[] = [idle]
  const { told } = await playNoting(rounds, (watcher) => watcher.note(object('a', '5', 'another-uid')))
  assert.deepEqual(told, ['+a@1'])
})

test('a server that hangs up at once is not asked a thousand times', async () => {
  const started = performance.now()
  const { begins } = await play({ lists: [page('9', [])], rounds: [lines()] }, () => performance.now() - started > 2000)
  assert.ok(begins.length <= 8, `${begins.length} requests in 2 s`)
})

test('a server that was set back to a backup is believed', async () => {
  const failing: Round = () => Promise.reject(new Unavailable(504, 'too large resource version'))
  const lists = [page('100', [object('a', '90'), object('b', '95')]), page('50', [object('a', '40')])]
  const { told, watcher } = await play({ lists, rounds: [failing, failing, failing, failing, failing, idle] }, (told) =>
    told.includes('-b@95'),
  )
  assert.deepEqual(told, ['+a@90', '+b@95', '+a@40', '-b@95'])
  assert.equal(watcher.get('a/a')?.metadata.resourceVersion, '40')
})
