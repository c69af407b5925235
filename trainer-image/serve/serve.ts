import { once } from 'node:events'
import type { Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import type { JobContext } from '../job/context.ts'
import { JobFailure } from '../job/failure.ts'
import { engineInfo } from '../native/index.ts'
import { startServer } from '../service/server.ts'
import { type OwnerRecord, ownerRecord } from '../storage/owners.ts'
import { canaryOfBase, prove, proveCanary, provide, sweepPromotions } from './adapters.ts'
import type { Answering, Engine } from './answering.ts'
import { type Base, openBase } from './base.ts'
import { baseOpener } from './base-opener.ts'
import { readRemembered, writeRemembered } from './desired.ts'
import { createEndpoint } from './endpoint.ts'
import { follow } from './follow.ts'
import { Health } from './health.ts'
import { loadMerged } from './merged.ts'
import { createMetrics } from './metrics.ts'
import { Release, type ReleaseEffects } from './release.ts'
import { Scheduler, type SchedulerLimits } from './scheduler.ts'
import { servingService } from './service.ts'

/** After SIGTERM requests are still taken this long, since the way to this pod is taken down at the same time. */
const GRACE_MILLISECONDS = 2_000
/** Then what is running may end; with the grace this stays within 25 s of a pod's usual 30. */
const DRAIN_MILLISECONDS = 22_000

/** Longer than clients and proxies keep a connection, so that none is closed just as a request enters it. */
const KEEP_ALIVE_MILLISECONDS = 75_000

const limits = (contextTokens: number): SchedulerLimits => ({
  maxRunning: 16,
  maxWaiting: 64,
  prefillTokens: 256,
  cacheTokens: Math.max(contextTokens, 16_384),
})

/**
 * Serves one release until the signal aborts, then drains. HTTP and gRPC listen at once, so that the pod can say how
 * it is while the base model is still being read.
 */
export async function serve(config: ServeConfig, context: JobContext): Promise<void> {
  const { log, signal, stateDir } = context
  const ownerUid = config.owner?.uid ?? ''
  let engine: Engine | undefined
  const metrics = createMetrics({
    load: () => engine?.scheduler.load ?? { running: 0, waiting: 0 },
    state: () => release.state(),
  })
  const openingBase = baseOpener(async () => {
    const base = await openBase(config, context.dataDir, log)
    engine = { base, scheduler: new Scheduler(base.model, limits(base.contextTokens)) }
    return base
  }, log)
  openingBase().catch(() => undefined) // whoever needs it hears of a failure
  const owner = ownerRecord(config.owner, config.reclaim)
  const health = new Health()
  const release = new Release(context.podUid, effects(config, context, owner, openingBase, metrics, health))
  const answering: Answering = {
    engine: () => engine,
    release,
    modelName: modelNameOf(config),
    hasBase: config.mergedDigest === '',
    metrics,
    health,
  }

  const calls = await startServer({
    trust: config.trust,
    services: [servingService(release)],
    podUid: context.podUid,
    ownerUid,
    attempt: 0,
    ...(context.host !== undefined && { host: context.host }),
    generation: () => release.desired?.generation ?? 0,
  })
  const endpoint = createEndpoint(answering, signal, log)
  endpoint.keepAliveTimeout = KEEP_ALIVE_MILLISECONDS
  endpoint.listen(config.httpPort, context.host)
  await once(endpoint, 'listening')
  log.info({ http: portOf(endpoint), grpc: calls.port }, 'listening')
  try {
    await sweepPromotions(context.dataDir).catch((error) => log.warn({ err: error }, 'cannot sweep adapters/'))
    const remembered = await readRemembered(stateDir)
    // Not waited for: a base may take minutes to load, and the pod has seconds to leave.
    await untilAborted(follow(release, context.desiredFile, remembered, log, signal), signal)
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    await drain(endpoint, log)
    await calls.close()
  }
}

function effects(
  config: ServeConfig,
  { dataDir, stateDir, log }: JobContext,
  owner: OwnerRecord | undefined,
  openingBase: () => Promise<Base>,
  metrics: ReturnType<typeof createMetrics>,
  health: Health,
): ReleaseEffects {
  return {
    log,
    health: (digest) => health.of(digest),
    totals: () => health.totals,
    now: () => new Date(),
    remember: (state) => writeRemembered(stateDir, state),
    switched(seconds, ok) {
      metrics.switches.observe({ outcome: ok ? 'ok' : 'failed' }, seconds)
    },
    async load(desired) {
      const opened = await openingBase()
      const probe = opened.endIds.values().next().value ?? 0
      if (config.mergedDigest !== '') return loadMerged(config, desired, dataDir, opened, probe)
      const { model, identity } = opened
      const { instructionPath } = engineInfo()
      const base = { model, identity, probe, arithmetic: { backend: 'CPU', instructionPath } } as const
      if (desired.digest === '') {
        await prove(model, undefined, probe)
        const canary = await canaryOfBase(dataDir, identity)
        if (canary) await proveCanary(base, undefined, canary)
        return { adapter: undefined }
      }
      return provide(dataDir, desired, base, log, owner)
    },
  }
}

function modelNameOf({ modelName }: ServeConfig): string {
  if (modelName === '')
    throw new JobFailure('ConfigurationInvalid', 'model_name is empty, expected the name to serve under')
  return modelName
}

async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  return Promise.race([promise, aborted])
}

/** Takes requests for a moment longer, then none; what runs may end, and what has not ended by then is cut off. */
async function drain(endpoint: Server, log: Logger): Promise<void> {
  await sleep(GRACE_MILLISECONDS)
  const closed = new Promise<void>((resolve) => endpoint.close(() => resolve()))
  const idle = setInterval(() => endpoint.closeIdleConnections(), 50)
  const cut = setTimeout(() => {
    log.warn(`requests still running after ${DRAIN_MILLISECONDS / 1000} s are cut off`)
    endpoint.closeAllConnections()
  }, DRAIN_MILLISECONDS)
  await closed
  clearInterval(idle)
  clearTimeout(cut)
}

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}
