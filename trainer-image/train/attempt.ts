import { join } from 'node:path'
import type { EvaluationResult, RunReport } from '#proto/humanizer/trainer/v1/run.ts'
import type { JobContext } from '../job/context.ts'
import type { OpenedModel } from '../model/open.ts'
import { loadModel } from '../native/index.ts'
import { fitsUnquantized, measure, measureUnquantized, readBaseline, writeBaseline } from './baseline.ts'
import { findCheckpoints } from './checkpoint.ts'
import { Checkpoints } from './checkpoints.ts'
import type { CheckedConfig } from './configuration.ts'
import { openDataset } from './dataset.ts'
import { templateDate } from './example.ts'
import type { LiveRun, Requests } from './live-run.ts'
import { adapterConfigOf, openAdapter, openBase, quantizationOf, resumedState, settleRun } from './opening.ts'
import { type EvaluationSets, planRun } from './plan.ts'
import { trainSession } from './session.ts'

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

/** Trains from the newest sealed checkpoint to the end. A stop seals the last optimizer step and throws its reason. */
export async function runAttempt(attempt: Attempt): Promise<RunReport> {
  const { asked, runDirectory, context, live, signal } = attempt
  const { log, dataDir } = context
  const { config, environment } = await settleRun(asked, runDirectory, live, log)
  const dataset = await openDataset(join(dataDir, config.datasetPath), config.datasetDigest)
  const opened = await openBase(config, dataDir)
  const adapterConfig = adapterConfigOf(config)
  const plan = await planRun(config, dataset, opened, templateDate, signal)
  for (const warning of plan.warnings) live.warn(warning)
  live.update({ data: plan.data })
  log.info({ ...plan.schedule, ...plan.data, examplesPerStep: plan.examplesPerStep }, 'planned')

  const sealed = await findCheckpoints(runDirectory, (name, why) => {
    log.warn(why)
    live.warn(`${name} was not whole and is skipped: ${why}`)
  })
  const { protectedDigests } = asked
  const checkpoints = new Checkpoints(dataDir, sealed, { keep: config.checkpoints.keep, protectedDigests })
  const resumed = await resumedState(checkpoints.newest)

  live.update({ state: 'RUN_STATE_MEASURING_BASELINE' })
  let baseline = await readBaseline(runDirectory)
  const sets = plan.evaluation
  const before =
    baseline === undefined && sets !== undefined
      ? await unquantizedLoss(attempt, config, opened, environment.threads, sets)
      : undefined
  const quantization = quantizationOf(config)
  const model = await loadModel(opened.architecture, opened.tensors, { quantization, threads: environment.threads })
  log.info({ ...model.memory(), threads: environment.threads }, `loaded ${config.model.name}`)
  if (baseline === undefined && sets !== undefined) {
    baseline = { ...(await measure(model, undefined, sets, 0, signal)), unquantizedLoss: before }
    await writeBaseline(runDirectory, baseline)
    log.info({ loss: baseline.loss, interval: baseline.lossInterval, unquantizedLoss: before }, 'baseline')
  }
  const adapter = await openAdapter(model, config, adapterConfig, checkpoints.newest)
  live.update({
    state: 'RUN_STATE_TRAINING',
    baseline: baseline satisfies EvaluationResult | undefined,
    resumedFromStep: resumed.step,
    checkpoints: checkpoints.report(resumed.standing.best?.step),
  })
  return trainSession(attempt, { config, opened, adapterConfig, plan, model, adapter, checkpoints, resumed, baseline })
}

async function unquantizedLoss(
  { context, signal }: Attempt,
  config: CheckedConfig,
  opened: OpenedModel,
  threads: number,
  sets: EvaluationSets,
): Promise<number | undefined> {
  if (config.quantization.type !== 'NF4') return undefined
  if (fitsUnquantized(opened)) return measureUnquantized(opened, threads, sets, signal)
  context.log.info('the unquantised base does not fit the memory limit; its loss is not measured')
  return undefined
}
