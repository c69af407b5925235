import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Watcher } from '../../operator/controller/watch.ts'
import type { KubeObject } from '../../operator/kube/cluster.ts'
import { createMetrics, type Metrics } from '../../operator/kube/metrics.ts'
import { watchSource } from '../../operator/kube/watch-source.ts'
import { type ApiServer, startApiServer, until } from './api-server.ts'
import { TcpProxy } from './proxy.ts'
import { silent, type Widget, widget, widgetCrd, widgetKind, widgetsPath } from './widget.ts'

let server: ApiServer

before(async () => {
  // Watches straight from etcd, so that a compaction is felt as 410.
  server = await startApiServer({ flags: ['--watch-cache=false'] })
  await server.installCrds([widgetCrd])
})
after(() => server.stop())

/** A watcher through a proxy, and what it told. */
class Watched implements AsyncDisposable {
  readonly told: string[] = []
  readonly metrics: Metrics = createMetrics()
  readonly watcher: Watcher
  readonly proxy: TcpProxy
  readonly #namespace: string
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  private constructor(proxy: TcpProxy, namespace: string, keep: 'objects' | 'traces') {
    this.proxy = proxy
    this.#namespace = namespace
    this.watcher = new Watcher({
      source: watchSource(server.client({ port: proxy.port }), { ...widgetKind, namespace }),
      kind: 'Widget',
      keep,
      onChange: (object: KubeObject, gone) => {
        this.told.push(`${gone ? '-' : '+'}${object.metadata.name}=${(object as Widget).spec?.value ?? ''}`)
      },
      log: silent,
      metrics: this.metrics,
    })
    this.#running = this.watcher.run(this.#stop.signal)
  }

  static async start(keep: 'objects' | 'traces' = 'objects'): Promise<Watched> {
    const watched = new Watched(await TcpProxy.to(server.port), await server.namespace(), keep)
    await watched.watcher.whenSynced
    return watched
  }

  create(name: string, value: string): Promise<Widget> {
    const body = widget(this.#namespace, name, value)
    return server.client().request('POST', widgetsPath(this.#namespace), { body })
  }

  change(name: string, value: string): Promise<Widget> {
    const body = { spec: { value } }
    const contentType = 'application/merge-patch+json'
    return server.client().request('PATCH', `${widgetsPath(this.#namespace)}/${name}`, { contentType, body })
  }

  remove(name: string): Promise<unknown> {
    return server.client().request('DELETE', `${widgetsPath(this.#namespace)}/${name}`)
  }

  saw(what: string, limitSeconds?: number): Promise<number> {
    return until(`the watcher told ${what}`, () => this.told.includes(what), limitSeconds)
  }

  async relists(): Promise<number> {
    return (await this.metrics.relists.get()).values[0]?.value ?? 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
    await this.proxy[Symbol.asyncDispose]()
  }
}

test('a watch tells what is there, what comes, what changes and what goes, each state once', async () => {
  await using watched = await Watched.start()
  await watched.create('a', '1')
  await watched.change('a', '2')
  await watched.remove('a')
  await watched.saw('-a=2')
  assert.deepEqual(watched.told, ['+a=1', '+a=2', '-a=2'])
  assert.equal(await watched.relists(), 1)
})

test('a watch of traces keeps metadata only', async () => {
  await using watched = await Watched.start('traces')
  await watched.create('a', '1')
  await watched.saw('+a=1')
  const [kept] = watched.watcher.values()
  assert.deepEqual(Object.keys(kept!), ['apiVersion', 'kind', 'metadata'])
  assert.ok(!('managedFields' in kept!.metadata))
})

test('a watch whose connections are cut goes on from where it was, without listing again', async () => {
  await using watched = await Watched.start()
  for (let round = 0; round < 20; round++) {
    await watched.create(`cut-${round}`, '1')
    watched.proxy.refuse()
    await watched.change(`cut-${round}`, '2')
    watched.proxy.pass()
    await watched.saw(`+cut-${round}=2`, 35)
  }
  assert.equal(await watched.relists(), 1)
})

test('a watch that is too old lists again: missed changes and deletions are told, what is unchanged is not', async () => {
  await using watched = await Watched.start()
  for (const name of ['kept', 'changed', 'removed', 'replaced']) await watched.create(name, '1')
  await watched.saw('+replaced=1')
  watched.proxy.refuse()
  await watched.change('changed', '2')
  await watched.remove('removed')
  await watched.remove('replaced')
  await watched.create('replaced', '2')
  await watched.create('new', '1')
  await server.compact()
  watched.told.length = 0
  watched.proxy.pass()
  await watched.saw('-removed=1', 35)
  assert.deepEqual(watched.told.sort(), ['+changed=2', '+new=1', '+replaced=2', '-removed=1'])
  assert.equal(await watched.relists(), 2)
})

test('a watch whose connection falls silent notices within its round and goes on', async () => {
  await using watched = await Watched.start()
  await watched.create('heard', '1')
  await watched.saw('+heard=1')
  watched.proxy.forget()
  await watched.create('unheard', '1')
  const milliseconds = await watched.saw('+unheard=1', 40)
  assert.ok(milliseconds <= 35_000, `told after ${milliseconds} ms, wanted 35000 at most`)
  assert.equal(await watched.relists(), 1)
})

test('an idle watch stays fresh without lists, errors or many requests', async () => {
  await using watched = await Watched.start()
  let oldest = 0
  const started = performance.now()
  await until(
    'a minute has passed',
    () => {
      oldest = Math.max(oldest, watched.watcher.ageSeconds)
      return performance.now() - started > 60_000
    },
    70,
  )
  assert.ok(oldest < 30, `silent for ${oldest} s`)
  assert.equal(await watched.relists(), 1)
  assert.equal((await watched.metrics.watchErrors.get()).values.length, 0)
  assert.ok(watched.proxy.accepted <= 3, `${watched.proxy.accepted} connections`)
})

test('no change is lost when the API server is killed again and again', async () => {
  await using watched = await Watched.start()
  const wanted: string[] = []
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 20; i++) await watched.create(`r${round}-${i}`, 'made')
    await server.kill()
    await server.startApi()
    for (let i = 0; i < 20; i += 2) await watched.change(`r${round}-${i}`, 'changed')
    for (let i = 1; i < 20; i += 4) await watched.remove(`r${round}-${i}`)
  }
  for (let round = 0; round < 3; round++)
    for (let i = 0; i < 20; i++) {
      if (i % 2 === 0) wanted.push(`r${round}-${i}=changed`)
      else if (i % 4 === 3) wanted.push(`r${round}-${i}=made`)
    }
  const held = () =>
    [...watched.watcher.values()].map((object) => `${object.metadata.name}=${(object as Widget).spec.value}`).sort()
  await until('the cache holds what the server holds', () => held().join() === wanted.sort().join(), 35)
  for (const state of wanted) assert.ok(watched.told.includes(`+${state}`), `${state} was not told`)
})
