import { join } from 'node:path'
import type { RunReport } from '#proto/humanizer/trainer/v1/run.ts'
import type { JobContext } from '../job/context.ts'
import { requireForm } from '../model/bnb-4bit.ts'
import { backendOf } from '../model/compute-dtype.ts'
import type { OpenedModel } from '../model/open.ts'
import { type ComputePath, deviceMemory, loadModel, type Model } from '../native/index.ts'
import {
  fitsUnquantized,
  type Measured,
  measure,
  measureUnquantized,
  type Room,
  readBaseline,
  writeBaseline,
} from './baseline.ts'
import { findCheckpoints, type SealedCheckpoint } from './checkpoint.ts'
import { Checkpoints } from './checkpoints.ts'
import { measureOutputs, withMetrics } from './conclude.ts'
import type { CheckedConfig } from './configuration.ts'
import { openDataset } from './dataset.ts'
import type { LiveRun, Requests } from './live-run.ts'
import { availableMemory } from './memory.ts'
import { beyondPlan, type MemoryPlan, planMemory } from './memory-plan.ts'
import {
  activationCheckpointingOf,
  adapterConfigOf,
  openAdapter,
  openBase,
  optimizerOf,
  quantizationOf,
  type Settled,
  settleRun,
} from './opening.ts'
import { type EvaluationSets, type Plan, planRun } from './plan.ts'
import { inexactness, resumedProgress, resumedState } from './resume.ts'
import { writeRunConfig } from './run-config.ts'
import { trainSession } from './session.ts'
import { leavingOn } from './work.ts'

/** What one attempt works with; the lock is held and calls are served. */
export interface Attempt {
  /** As the operator asked; a resumed run goes by its own run_config.json. */
  readonly asked: CheckedConfig
  readonly runDirectory: string
  readonly context: JobContext
  readonly live: LiveRun
  readonly requests: Requests
  /** SIGTERM, Stop, or the loss of the writer's lock. */
  readonly signal: AbortSignal
}

/** The base without an adapter, among what is evaluated. */
const untouched = { name: 'base', digest: '' }

/** Trains from the newest sealed checkpoint to the end. A stop seals the last optimizer step and throws its reason. */
export async function runAttempt(attempt: Attempt): Promise<RunReport> {
  const { asked, runDirectory, context, live, signal } = attempt
  const { log, dataDir } = context
  const { beat } = live
  const settled = await settleRun(asked, runDirectory)
  const { config, environment } = settled
  const dataset = await openDataset(join(dataDir, config.datasetPath), config.datasetDigest)
  const opened = await leavingOn(signal, openBase(config, dataDir, dataset.format.chatTemplate, beat))
  requireForm(config.model.name, opened.quantization, quantizationOf(config))
  const adapterConfig = adapterConfigOf(config, opened.architecture)
  const { templateDate, stored } = settled
  const backend = backendOf((stored?.environment ?? environment).instructionPath)
  const planned = await planRun(config, dataset, opened, { templateDate, backend }, { signal, beat, log })
  const device = deviceOf(environment.instructionPath)
  const memory = planMemory(
    {
      ...opened,
      quantization: quantizationOf(config),
      lora: { ...adapterConfig, optimizer: optimizerOf(config) },
      threads: environment.threads,
      bf16Products: environment.instructionPath === 'avx512_bf16',
      lengths: planned.lengths,
      ...config.training,
      heldByNode: device ? 0 : process.memoryUsage.rss(),
      activationBytes: device?.activationBytes,
    },
    activationCheckpointingOf(config),
    config.training.gradientAccumulation,
    device?.freeBytes ?? availableMemory(),
    availableMemory(),
  )
  const { capacity } = planned.questions
  const cacheTokens = capacity * memory.textsAtOnce
  const plan = { ...planned, questions: { ...planned.questions, cacheTokens } }
  try {
    await recordPlan(attempt, settled, plan, memory)

    const sealed = await findCheckpoints(runDirectory, (name, why) => {
      log.warn(why)
      live.warn(`${name} was not whole and is skipped: ${why}`)
    })
    const exact = recordExactness(attempt, settled, sealed.at(-1))
    const resumed = await resumedState(sealed, (message) => live.warn(message))
    const referred = new Set(config.reclaim?.sweep?.liveDigests)
    const checkpoints = new Checkpoints(dataDir, sealed, config.checkpoints.keep, referred)
    live.update({
      state: 'RUN_STATE_MEASURING_BASELINE',
      progress: resumedProgress(resumed, plan.schedule),
      resumedFromStep: resumed.step,
      checkpoints: checkpoints.report(resumed.standing.best?.step),
    })

    const known = await readBaseline(runDirectory)
    const unquantizedLoss =
      known === undefined && plan.evaluation !== undefined
        ? await unquantizedLossOf(attempt, settled, opened, plan.evaluation)
        : undefined
    const { activationCheckpointing } = memory
    const options = {
      quantization: quantizationOf(config),
      threads: environment.threads,
      instructionPath: environment.instructionPath,
      activationCheckpointing,
      keepSteps: memory.items.graphs > 0,
      onProgress: beat,
    }
    const model = await leavingOn(signal, loadModel(opened.architecture, opened.tensors, options))
    try {
      log.info({ ...model.memory(), threads: environment.threads }, `loaded ${config.model.name}`)
      const measured = known ?? (await measureBaseline(attempt, model, plan.evaluation, unquantizedLoss))
      const base =
        measured && (await measureOutputs(attempt, plan, untouched, async () => ({ model, adapter: undefined })))
      const baseline = measured && base ? { ...measured, result: withMetrics(measured.result, base.metrics) } : measured
      if (baseline !== undefined && baseline !== known) await writeBaseline(runDirectory, baseline)
      const adapter = await openAdapter(model, config, adapterConfig, sealed.at(-1))
      live.update({ state: 'RUN_STATE_TRAINING', baseline: baseline?.result })
      const fixed = { config, environment, templateDate, exact, opened, adapterConfig, plan, resumed, baseline, base }
      return await trainSession(attempt, { ...fixed, model, adapter, checkpoints })
    } finally {
      model.close()
    }
  } catch (error) {
    throw signal.aborted ? error : beyondPlan(error, memory, config.training)
  }
}

/** The GPU of a path, and what an activation takes there; undefined for a path of the processor. */
const deviceOf = (path: ComputePath): { activationBytes: 2 | 4; freeBytes: number } | undefined =>
  backendOf(path) === 'CPU'
    ? undefined
    : { activationBytes: path === 'cuda' ? 2 : 4, freeBytes: deviceMemory().freeBytes }

/** Tells how the data became steps, and pins the configuration when this is the run's first plan. */
async function recordPlan(
  { live, context, runDirectory }: Attempt,
  { config, environment, templateDate, stored }: Settled,
  { data, schedule, examplesPerStep, warnings }: Plan,
  memory: MemoryPlan,
): Promise<void> {
  for (const warning of warnings) live.warn(warning)
  live.update({ data })
  context.log.info({ ...schedule, ...data, examplesPerStep }, 'planned')
  context.log.info({ ...memory }, 'memory planned')
  const first = { version: 1, config, environment, templateDate, examplesPerStep } as const
  await writeRunConfig(runDirectory, { ...(stored ?? first), memory })
}

function recordExactness(
  { live, context }: Attempt,
  { environment, stored }: Settled,
  newest: SealedCheckpoint | undefined,
): boolean {
  const changed = inexactness(newest, stored?.environment ?? environment, environment)
  if (changed.length === 0) return true
  live.update({ exact: false })
  live.warn(`this attempt is not bit-exact: ${changed.join('; ')}`)
  context.log.warn({ changed }, 'not bit-exact')
  return false
}

async function measureBaseline(
  { live, context, runDirectory, signal }: Attempt,
  model: Model,
  sets: EvaluationSets | undefined,
  unquantizedLoss: number | undefined,
): Promise<Measured | undefined> {
  if (sets === undefined) return undefined
  const { beat } = live
  const measured = await leavingOn(signal, measure(model, undefined, sets, 0, undefined, { signal, beat }))
  const baseline = { ...measured, result: { ...measured.result, unquantizedLoss } }
  await writeBaseline(runDirectory, baseline)
  const { loss, lossInterval: interval } = baseline.result
  context.log.info({ loss, interval, unquantizedLoss }, 'baseline')
  return baseline
}

async function unquantizedLossOf(
  { live, context, signal }: Attempt,
  { config, environment }: Settled,
  opened: OpenedModel,
  sets: EvaluationSets,
): Promise<number | undefined> {
  // A base that was saved in 4 bits is nowhere in 16.
  if (config.quantization.type !== 'NF4' || opened.quantization !== undefined) return undefined
  const { beat } = live
  const device = deviceOf(environment.instructionPath)
  const room: Room = device
    ? { freeBytes: device.freeBytes, bytesPerWeight: device.activationBytes }
    : { freeBytes: availableMemory(), bytesPerWeight: 4 }
  const loss = fitsUnquantized(opened, room)
    ? await leavingOn(signal, measureUnquantized(opened, environment, sets, { signal, beat }))
    : undefined
  if (loss === undefined) context.log.info({ ...room }, 'the unquantised base does not fit; its loss is not measured')
  return loss
}
