import { once } from 'node:events'
import type { Server } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import type { JobContext } from '../job/context.ts'
import { JobFailure } from '../job/failure.ts'
import { startServer } from '../service/server.ts'
import { sweepPromotions } from './adapters.ts'
import { readRemembered } from './desired.ts'
import { follow } from './follow.ts'
import type { Closable } from './lease.ts'
import type { Release } from './release.ts'
import { servingService } from './service.ts'

/** After SIGTERM requests are still taken this long, since the way to this pod is taken down at the same time. */
const GRACE_MILLISECONDS = 2_000
/** Then what is running may end; with the grace this stays within 25 s of a pod's usual 30. */
const DRAIN_MILLISECONDS = 22_000

/** Longer than clients and proxies keep a connection, so that none is closed just as a request enters it. */
const KEEP_ALIVE_MILLISECONDS = 75_000

/** Listens for requests and signed calls and follows desired.json until the signal aborts, then drains. */
export async function serving(
  config: ServeConfig,
  context: JobContext,
  release: Release<Closable>,
  endpoint: Server,
): Promise<void> {
  const { log, signal, stateDir } = context
  const calls = await startServer({
    trust: config.trust,
    services: [servingService(release)],
    podUid: context.podUid,
    ownerUid: config.owner?.uid ?? '',
    attempt: 0,
    ...(context.host !== undefined && { host: context.host }),
    generation: () => release.desired?.generation ?? 0,
  })
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

export function modelNameOf({ modelName }: ServeConfig): string {
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
