import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import operatorModule from '@dot-i/k8s-operator'
import type { Logger } from 'pino'
import type { Controller } from './controller/controller.ts'
import { Leader } from './controller/leader.ts'
import { Loop } from './controller/loop.ts'
import { ApiClient, type PooledKubeConfig } from './kube/client.ts'
import type { Cluster, KubeObject } from './kube/cluster.ts'
import { faultAfter } from './kube/fault.ts'
import { KubeCluster } from './kube/kube-cluster.ts'
import { leaseStore } from './kube/lease.ts'
import { createMetrics } from './kube/metrics.ts'
import { watchSource } from './kube/watch-source.ts'
import type { Settings } from './settings.ts'
import { createTrust, type Trust } from './trust/trust.ts'

export type ControllerFactory = (cluster: Cluster, settings: Settings, trust: Trust) => Controller<never>

/** How long stop() waits for reconciles under way before it leaves the lease to run out. */
const DRAIN_MS = 2000

/** One replica: leader election, the loops of its controllers, health and metrics. */
export class HumanizerOperator extends operatorModule.default {
  readonly metrics = createMetrics()
  readonly #settings: Settings
  readonly #log: Logger
  readonly #stopping = new AbortController()
  readonly #trust: Trust
  readonly #leader: Leader
  readonly #loops: Loop<KubeObject>[]
  readonly #servers: Server[] = []
  #election: Promise<void> = Promise.resolve()

  constructor(settings: Settings, kubeConfig: PooledKubeConfig, factories: readonly ControllerFactory[], log: Logger) {
    super({
      debug: (message) => log.debug(message),
      info: (message) => log.info(message),
      warn: (message) => log.warn(message),
      error: (message) => log.error(message),
    })
    this.#settings = settings
    this.#log = log
    this.#trust = createTrust(settings)
    const client = new ApiClient(kubeConfig, { timeoutMs: settings.apiTimeoutMs, metrics: this.metrics })
    this.#leader = new Leader({
      store: leaseStore(client, settings.namespace, settings.leaseName, settings.apiTimeoutMs),
      identity: settings.podName,
      leaseDurationSeconds: settings.leaseDurationSeconds,
      renewDeadlineSeconds: settings.renewDeadlineSeconds,
      retryPeriodSeconds: settings.retryPeriodSeconds,
      onLead: () => {
        for (const loop of this.#loops) loop.lead()
      },
      onFollow: () => {
        for (const loop of this.#loops) void loop.follow()
      },
      log,
    })
    const cluster = new KubeCluster({
      client,
      log,
      podName: settings.podName,
      leading: () => this.#leader.leading,
      afterMutation: faultAfter(settings.faultAfterMutation),
      written: (object) => {
        for (const loop of this.#loops) loop.note(object)
      },
    })
    this.#loops = factories.map(
      (controllerOf) =>
        new Loop(controllerOf(cluster, settings, this.#trust) as Controller<KubeObject>, {
          sourceOf: (collection) => watchSource(client, collection),
          namespaces: settings.watchNamespaces,
          workers: settings.workers,
          reconcileTimeoutSeconds: settings.reconcileTimeoutSeconds,
          log,
          metrics: this.metrics,
        }),
    )
  }

  /** Ports that health and metrics listen on, once started. */
  get ports(): { readonly health: number; readonly metrics: number } {
    const [health, metrics] = this.#servers.map((server) => (server.address() as AddressInfo).port)
    return { health: health ?? 0, metrics: metrics ?? 0 }
  }

  get leading(): boolean {
    return this.#leader.leading
  }

  /** Called by start(). */
  protected override async init(): Promise<void> {
    await this.#listen(this.#settings.healthPort, (path) => this.#health(path))
    await this.#listen(this.#settings.metricsPort, (path) => this.#scrape(path))
    for (const loop of this.#loops) loop.start(this.#stopping.signal)
    this.#election = this.#leader.run(this.#stopping.signal)
    this.#log.info({ ...this.ports, podName: this.#settings.podName }, 'operator started')
  }

  /** Stops acting at once, lets reconciles under way end, gives the lease back. Takes at most three seconds. */
  override async stop(): Promise<void> {
    this.#stopping.abort()
    const drained = Promise.all([this.#election, ...this.#loops.map((loop) => loop.follow())]).then(() => true)
    const late = new Promise<false>((resolve) => setTimeout(resolve, DRAIN_MS, false).unref())
    if (await Promise.race([drained, late])) {
      const soon = new Promise<void>((resolve) => setTimeout(resolve, 900).unref())
      await Promise.race([this.#leader.release(), soon])
    }
    this.#trust.close()
    for (const server of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
    this.#log.info('operator stopped')
  }

  // The base's own ways would end the process on a watch error, and write status without a resourceVersion's guard.
  protected override watchResource(): never {
    throw new Error('watchResource: watches are supervised by controller/watch.ts')
  }

  protected override setResourceStatus(): never {
    throw new Error('setResourceStatus: status is written by Cluster.writeStatus')
  }

  protected override patchResourceStatus(): never {
    throw new Error('patchResourceStatus: status is written by Cluster.writeStatus')
  }

  /** /healthz: the process answers. /readyz: caches are warm and the lease can be read and written. */
  async #health(path: string): Promise<Answer> {
    if (path === '/healthz') return { code: 200, type: 'text/plain', body: 'ok\n' }
    if (path !== '/readyz') return NOT_FOUND
    const cold = this.#loops.flatMap((loop) => loop.watchers.filter((watcher) => !watcher.synced))
    const missing = [...new Set(cold.map((watcher) => `not listed yet: ${watcher.kind}`))]
    if (!this.#leader.healthy) missing.push('the lease cannot be read and written')
    if (this.#stopping.signal.aborted) missing.push('stopping')
    return { code: missing.length > 0 ? 503 : 200, type: 'text/plain', body: `${missing.join('\n') || 'ok'}\n` }
  }

  async #scrape(path: string): Promise<Answer> {
    if (path !== '/metrics') return NOT_FOUND
    const { metrics } = this
    metrics.leader.set(this.leading ? 1 : 0)
    for (const loop of this.#loops) {
      metrics.queueDepth.set({ controller: loop.name }, loop.queueDepth)
      for (const [state, count] of Object.entries(loop.states())) metrics.objects.set({ kind: loop.kind, state }, count)
      for (const watcher of loop.watchers)
        metrics.watchAge.set({ controller: loop.name, kind: watcher.kind }, watcher.ageSeconds)
    }
    return { code: 200, type: metrics.registry.contentType, body: await metrics.registry.metrics() }
  }

  async #listen(port: number, answer: (path: string) => Promise<Answer>): Promise<void> {
    const server = createServer((request, response) => {
      answer(request.url ?? '/').then(
        ({ code, type, body }) => response.writeHead(code, { 'content-type': type }).end(body),
        (error) => response.writeHead(500).end(String(error)),
      )
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, resolve)
    })
    this.#servers.push(server)
  }
}

interface Answer {
  readonly code: number
  readonly type: string
  readonly body: string
}

const NOT_FOUND: Answer = { code: 404, type: 'text/plain', body: 'not found\n' }
