import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import type { KubeObject } from '../kube/cluster.ts'
import { Conflict, NotLeading } from '../kube/errors.ts'
import { createMetrics } from '../kube/metrics.ts'
import type { Line } from '../kube/watch-source.ts'
import type { Controller, ObjectKey } from './controller.ts'
import { Loop } from './loop.ts'
import { type Outcome, settled, waiting } from './outcome.ts'

const object = (kind: string, name: string, fields: object = {}): KubeObject => ({
  ...{ apiVersion: 'v1', kind },
  metadata: { name, namespace: 'a', uid: name, resourceVersion: '1', ...fields },
})

/** A loop whose API server is a list of owners and the lines that a test sends. */
class Bench {
  readonly reconciled: string[] = []
  readonly forgotten: ObjectKey[] = []
  readonly metrics = createMetrics()
  readonly loop: Loop<KubeObject>
  readonly #stop = new AbortController()
  readonly #streams = new Map<string, (line: Line) => void>()
  #version = 10
  behave: (name: string) => Promise<Outcome> = async () => settled

  constructor(owners: readonly KubeObject[], options: { workers?: number; reconcileTimeoutSeconds?: number } = {}) {
    const controller: Controller<KubeObject> = {
      name: 'bench',
      kind: { apiVersion: 'v1', kind: 'Owner', plural: 'owners' },
      children: [{ apiVersion: 'v1', kind: 'Child', plural: 'children', ownerLabel: 'humanizer.dev/owner' }],
      related: [
        {
          ...{ apiVersion: 'v1', kind: 'Related', plural: 'relateds' },
          concerns: (owner, related) => owner.metadata.labels?.wants === related.metadata.name,
        },
      ],
      reconcile: async ({ metadata }) => {
        this.reconciled.push(metadata.name)
        return this.behave(metadata.name)
      },
      forget: (key) => this.forgotten.push(key),
    }
    this.loop = new Loop(controller, {
      sourceOf: ({ kind }) => ({
        list: async () => ({ items: kind === 'Owner' ? [...owners] : [], resourceVersion: '1', next: undefined }),
        watch: (_version, _seconds, onLine, signal) => {
          this.#streams.set(kind, onLine)
          return new Promise((resolve) => {
            signal.addEventListener('abort', () => resolve(), { once: true })
          })
        },
      }),
      namespaces: [],
      workers: options.workers ?? 2,
      reconcileTimeoutSeconds: options.reconcileTimeoutSeconds ?? 60,
      log: pino({ level: 'silent' }),
      metrics: this.metrics,
    })
    this.loop.start(this.#stop.signal)
  }

  send(type: 'ADDED' | 'MODIFIED' | 'DELETED', sent: KubeObject): void {
    const metadata = { ...sent.metadata, resourceVersion: String(++this.#version) }
    this.#streams.get(sent.kind)!({ type, object: { ...sent, metadata } })
  }

  async results(): Promise<Record<string, number>> {
    const { values } = await this.metrics.reconciles.get()
    return Object.fromEntries(values.map(({ labels, value }) => [labels.result, value]))
  }

  async leadAndSettle(): Promise<void> {
    this.loop.lead()
    await pause()
  }

  async end(): Promise<void> {
    this.#stop.abort()
    await this.loop.follow()
  }
}

const pause = (milliseconds = 30) => new Promise((resolve) => setTimeout(resolve, milliseconds))

test('a follower does nothing; a leader looks at every object once', async () => {
  const bench = new Bench([object('Owner', 'x'), object('Owner', 'y')])
  await pause()
  assert.deepEqual(bench.reconciled, [])
  await bench.leadAndSettle()
  assert.deepEqual(bench.reconciled.sort(), ['x', 'y'])
  assert.deepEqual(bench.loop.states(), { ready: 0, reconciling: 0, stalled: 0, unknown: 2 })
  await bench.end()
})

test('a change of a child or of a related object brings its owner, and only that', async () => {
  const bench = new Bench([object('Owner', 'x', { labels: { wants: 'r' } }), object('Owner', 'y')])
  await bench.leadAndSettle()
  bench.reconciled.length = 0
  bench.send('ADDED', object('Child', 'c', { labels: { 'humanizer.dev/owner': 'y' } }))
  await pause()
  assert.deepEqual(bench.reconciled, ['y'])
  bench.send('ADDED', object('Related', 'r'))
  bench.send('ADDED', object('Related', 'other'))
  await pause()
  assert.deepEqual(bench.reconciled, ['y', 'x'])
  await bench.end()
})

test('an object that goes is forgotten; one that is being deleted is left alone', async () => {
  const bench = new Bench([object('Owner', 'x')])
  await bench.leadAndSettle()
  bench.send('MODIFIED', object('Owner', 'x', { deletionTimestamp: '2026-01-01T00:00:00Z' }))
  await pause()
  bench.send('DELETED', object('Owner', 'x'))
  await pause()
  assert.deepEqual(bench.reconciled, ['x'])
  assert.deepEqual(bench.forgotten, ['a/x'])
  await bench.end()
})

test('a throw is counted and tried again; a conflict is no error; a lead that lapsed for a moment is not even that', async () => {
  const bench = new Bench([object('Owner', 'x'), object('Owner', 'y'), object('Owner', 'z')])
  const failures: Record<string, Error | undefined> = {
    x: new TypeError('a bug'),
    y: new Conflict(409, 'changed meanwhile'),
    z: new NotLeading('not ours'),
  }
  bench.behave = async (name) => {
    const failure = failures[name]
    failures[name] = undefined
    if (failure) throw failure
    return settled
  }
  await bench.leadAndSettle()
  await pause(200)
  assert.deepEqual(await bench.results(), { error: 1, conflict: 1, settled: 3 })
  assert.deepEqual(bench.reconciled.sort(), ['x', 'x', 'y', 'y', 'z', 'z'])
  await bench.end()
})

test('waiting brings the object back', async () => {
  const bench = new Bench([object('Owner', 'x')])
  bench.behave = async () => (bench.reconciled.length < 3 ? waiting(0.02) : settled)
  await bench.leadAndSettle()
  await pause(150)
  assert.deepEqual(bench.reconciled, ['x', 'x', 'x'])
  await bench.end()
})

test('a reconcile that overstays frees its worker but never runs twice at once', async () => {
  const bench = new Bench([object('Owner', 'x'), object('Owner', 'y')], { workers: 1, reconcileTimeoutSeconds: 0.05 })
  const hanging = Promise.withResolvers<Outcome>()
  bench.behave = (name) => (name === 'x' ? hanging.promise : Promise.resolve(settled))
  await bench.leadAndSettle()
  await pause(100)
  bench.send('MODIFIED', object('Owner', 'x'))
  await pause()
  assert.deepEqual(bench.reconciled, ['x', 'y'])
  hanging.resolve(settled)
  await pause()
  assert.deepEqual(bench.reconciled, ['x', 'y', 'x'])
  assert.equal((await bench.results()).timeout, 1)
  await bench.end()
})

test('follow waits for what is under way, and a new lead waits for it too', async () => {
  const bench = new Bench([object('Owner', 'x')])
  const hanging = Promise.withResolvers<Outcome>()
  bench.behave = () => hanging.promise
  await bench.leadAndSettle()
  let followed = false
  const following = bench.loop.follow().then(() => {
    followed = true
  })
  await bench.leadAndSettle()
  assert.equal(followed, false)
  assert.deepEqual(bench.reconciled, ['x'], 'the object must not be reconciled twice at once')
  hanging.resolve(settled)
  await following
  await pause()
  assert.deepEqual(bench.reconciled, ['x', 'x'])
  await bench.end()
})
