import type { ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import type { JobContext } from '../job/context.ts'
import { backendOf } from '../model/compute-dtype.ts'
import { gpuReadings } from '../native/index.ts'
import { type OwnerRecord, ownerRecord } from '../storage/owners.ts'
import { proveBase, provide } from './adapters.ts'
import type { Answering, Engine } from './answering.ts'
import { type Base, openBase } from './base.ts'
import { baseOpener } from './base-opener.ts'
import { writeRemembered } from './desired.ts'
import { createEndpoint } from './endpoint.ts'
import { registerGpuMetrics } from './gpu-metrics.ts'
import { Health } from './health.ts'
import { loadMerged } from './merged.ts'
import { createMetrics } from './metrics.ts'
import { modelNameOf, serving } from './process.ts'
import { Release, type ReleaseEffects } from './release.ts'
import { Scheduler, type SchedulerLimits } from './scheduler.ts'

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
  const { log, signal } = context
  let engine: Engine | undefined
  const metrics = createMetrics({
    load: () => engine?.scheduler.load ?? { running: 0, waiting: 0 },
    state: () => release.state(),
  })
  const onGpu = (): boolean => engine !== undefined && backendOf(engine.base.instructionPath) === 'CUDA'
  registerGpuMetrics(metrics.registry, () => (onGpu() ? gpuReadings() : undefined))
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

  await serving(config, context, release, createEndpoint(answering, signal, log))
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
      const { model, identity, instructionPath } = opened
      const base = {
        model,
        identity,
        probe,
        arithmetic: { backend: backendOf(instructionPath), instructionPath },
      } as const
      if (desired.digest === '') {
        await proveBase(dataDir, base)
        return { adapter: undefined }
      }
      return provide(dataDir, desired, base, log, owner)
    },
  }
}
