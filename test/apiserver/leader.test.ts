import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Leader } from '../../operator/controller/leader.ts'
import { type LeaseStore, leaseStore } from '../../operator/kube/lease.ts'
import { type ApiServer, startApiServer, until } from './api-server.ts'
import { TcpProxy } from './proxy.ts'
import { silent } from './widget.ts'

const TIMING = { leaseDurationSeconds: 3, renewDeadlineSeconds: 2, retryPeriodSeconds: 0.4 }
const API_TIMEOUT_MS = 800

let server: ApiServer
let namespace: string

before(async () => {
  server = await startApiServer()
  namespace = await server.namespace()
})
after(() => server.stop())

/** One elector on the Lease `name`; `die` is a kill: no release. */
class Replica {
  readonly leader: Leader
  readonly store: LeaseStore
  readonly changes: string[] = []
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  constructor(name: string, identity: string, options: { port?: number; token?: string } = {}) {
    const client = server.client({ ...options, timeoutMs: API_TIMEOUT_MS })
    this.store = leaseStore(client, namespace, name, API_TIMEOUT_MS)
    this.leader = new Leader({
      ...TIMING,
      store: this.store,
      identity,
      onLead: () => this.changes.push('lead'),
      onFollow: () => this.changes.push('follow'),
      log: silent,
    })
    this.#running = this.leader.run(this.#stop.signal)
  }

  get leading(): boolean {
    return this.leader.leading
  }

  async die(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async resign(): Promise<void> {
    await this.die()
    await this.leader.release()
  }
}

const leads = (replica: Replica, limitSeconds?: number) => until('it leads', () => replica.leading, limitSeconds)

test('the lease is written in the format that the API server and kubectl expect', async () => {
  const replica = new Replica('format', 'a')
  await leads(replica)
  const { spec } = await server
    .client()
    .request<{ spec: Record<string, unknown> }>(
      'GET',
      `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/format`,
    )
  const sixDigits = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/
  assert.match(String(spec.renewTime), sixDigits)
  assert.match(String(spec.acquireTime), sixDigits)
  assert.equal(spec.holderIdentity, 'a')
  assert.equal(spec.leaseDurationSeconds, TIMING.leaseDurationSeconds)
  await replica.resign()
})

test('of two replicas one leads, and goes on leading', async () => {
  const [a, b] = [new Replica('two', 'a'), new Replica('two', 'b')]
  await until('one leads', () => a.leading || b.leading)
  for (let i = 0; i < 100; i++) {
    assert.equal([a, b].filter(({ leading }) => leading).length, 1)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const transitions = (await a.store.read())?.transitions
  assert.equal(transitions, 0)
  assert.deepEqual([...a.changes, ...b.changes], ['lead'])
  await a.resign()
  await b.resign()
})

test('a leader that is killed is followed after its lease, no sooner', async () => {
  const a = new Replica('killed', 'a')
  await leads(a)
  const b = new Replica('killed', 'b')
  await until('b has looked', () => b.leader.healthy)
  await a.die()
  const milliseconds = await leads(b)
  const lease = TIMING.leaseDurationSeconds * 1000
  const retry = TIMING.retryPeriodSeconds * 1000
  assert.ok(milliseconds > lease - 2 * retry, `after ${milliseconds} ms`)
  assert.ok(milliseconds < lease + 4 * retry, `after ${milliseconds} ms`)
  assert.equal((await b.store.read())?.transitions, 1)
  await b.resign()
})

test('a leader that resigns is followed at the next try', async () => {
  const a = new Replica('resigned', 'a')
  await leads(a)
  const b = new Replica('resigned', 'b')
  await until('b has looked', () => b.leader.healthy)
  await a.resign()
  assert.ok((await leads(b)) < 1000)
  await b.resign()
})

test('a replica that comes back under its name takes its own lease at once', async () => {
  const a = new Replica('again', 'a')
  await leads(a)
  await a.die()
  const again = new Replica('again', 'a')
  assert.ok((await leads(again)) < 1000)
  assert.equal((await again.store.read())?.transitions, 0)
  await again.resign()
})

test('never do two lead: the leader is cut off, stalled or killed, twenty times', async () => {
  await using cuts = await Cuts.start()
  let overlaps = 0
  let samples = 0
  const watching = setInterval(() => {
    samples++
    if (cuts.replicas.filter(({ leading }) => leading).length > 1) overlaps++
  }, 2)
  try {
    for (let round = 0; round < 20; round++) {
      const cut = cuts.leader()
      if (round % 2 === 0) cuts.proxyOf(cut).refuse()
      else cuts.proxyOf(cut).swallow()
      await until('another leads', () => cuts.replicas.some((replica) => replica !== cut && replica.leading), 20)
      assert.ok(!cut.leading)
      cuts.proxyOf(cut).pass()
      await until('the old leader follows', () => cut.leader.healthy, 20)
    }
  } finally {
    clearInterval(watching)
  }
  assert.equal(overlaps, 0)
  assert.ok(samples > 5000, `only ${samples} samples`)
})

/** Two replicas, each through a proxy of its own. */
class Cuts implements AsyncDisposable {
  readonly replicas: readonly Replica[]
  readonly #proxies: readonly TcpProxy[]

  private constructor(proxies: readonly TcpProxy[]) {
    this.#proxies = proxies
    this.replicas = proxies.map(({ port }, i) => new Replica('fenced', `replica-${i}`, { port }))
  }

  static async start(): Promise<Cuts> {
    const cuts = new Cuts([await TcpProxy.to(server.port), await TcpProxy.to(server.port)])
    await until('one leads', () => cuts.replicas.some(({ leading }) => leading))
    return cuts
  }

  leader(): Replica {
    return this.replicas.find(({ leading }) => leading)!
  }

  proxyOf(replica: Replica): TcpProxy {
    return this.#proxies[this.replicas.indexOf(replica)]!
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const replica of this.replicas) await replica.die()
    for (const proxy of this.#proxies) await proxy[Symbol.asyncDispose]()
  }
}

test('a leader whose process slept through its lease does not act when it wakes', async () => {
  const a = new Replica('slept', 'a')
  await leads(a)
  const wake = performance.now() + TIMING.renewDeadlineSeconds * 1000 + 100
  while (performance.now() < wake); // the event loop stands still, as under SIGSTOP
  assert.equal(a.leading, false)
  await a.die()
})

test('a follower that could never write the lease is not healthy', async () => {
  const a = new Replica('forbidden', 'a')
  await leads(a)
  const nobody = new Replica('forbidden', 'b', { token: 'nobody' })
  await new Promise((resolve) => setTimeout(resolve, 1500))
  assert.equal(nobody.leader.healthy, false)
  assert.equal(nobody.leading, false)
  await nobody.die()
  await a.resign()
})
