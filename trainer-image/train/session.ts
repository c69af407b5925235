import { join } from 'node:path'
import type { RunReport } from '#proto/humanizer/trainer/v1/run.ts'
import { type Canary, canaryOf, chooseCanary, lossesOf } from '../evaluate/canary.ts'
import { JobFailure } from '../job/failure.ts'
import { backendOf } from '../model/compute-dtype.ts'
import type { OpenedModel } from '../model/open.ts'
import type { AdapterConfig } from '../model/peft.ts'
import { type Adapter, gpuReadings, type Model } from '../native/index.ts'
import type { Attempt } from './attempt.ts'
import { type Measured, measure } from './baseline.ts'
import { type SealedCheckpoint, writeCheckpoint } from './checkpoint.ts'
import type { Checkpoints } from './checkpoints.ts'
import { type Concluded, type Conclusion, concludeRun } from './conclude.ts'
import type { CheckedConfig } from './configuration.ts'
import { deskOf } from './desk.ts'
import type { Standing } from './early-stopping.ts'
import { type Arithmetic, trainLoop } from './loop.ts'
import type { Plan } from './plan.ts'
import { Recorder } from './recorder.ts'
import { writeCheckpointFiles } from './resume-files.ts'
import type { Environment } from './run-config.ts'
import { noScalarLog, openScalarLog } from './tensorboard.ts'
import { trackedResult, trackerOf } from './tracking.ts'
import { formatTrainerState, type TrainerState } from './trainer-state.ts'
import type { Tracker } from './wandb.ts'
import { leavingOn, type Work } from './work.ts'

/** Everything opened for the loop. */
export interface Session {
  readonly config: CheckedConfig
  readonly environment: Environment
  readonly templateDate: string
  /** Whether this attempt goes on bit for bit. */
  readonly exact: boolean
  readonly opened: OpenedModel
  readonly adapterConfig: AdapterConfig
  readonly plan: Plan
  readonly model: Model
  readonly adapter: Adapter
  readonly checkpoints: Checkpoints
  readonly resumed: TrainerState
  readonly baseline: Measured | undefined
  /** What the untouched base wrote. */
  readonly base: Concluded | undefined
}

/** AdamW's other constants, as PyTorch and TRL have them. */
const adamW = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const

/** Follows the loop's facts to the end and answers with the finished report; a tracking server is told beside it. */
export async function trainSession(attempt: Attempt, session: Session): Promise<RunReport> {
  const tracker = await trackerOf(attempt, session)
  try {
    const { best, samples } = await followLoop(attempt, session, tracker)
    await tracker.finish(trackedResult(attempt, best, samples))
  } catch (error) {
    await tracker.stop()
    throw error
  }
  attempt.live.update({ state: 'RUN_STATE_SUCCEEDED' })
  return attempt.live.report
}

async function followLoop(attempt: Attempt, session: Session, tracker: Tracker): Promise<Conclusion> {
  const { live, requests, signal, runDirectory, context } = attempt
  const { config, plan, model, checkpoints, resumed, environment } = session
  const { everySteps: logEvery, tensorBoard } = config.logging
  const events = tensorBoard
    ? await openScalarLog(join(runDirectory, 'tensorboard'), context.podName, resumed.step + 1)
    : noScalarLog
  const recorder = new Recorder({
    live,
    log: context.log,
    scalars: {
      async write(step, scalars) {
        await events.write(step, scalars)
        await tracker.write(step, scalars)
      },
    },
    schedule: plan.schedule,
    logEvery,
    from: resumed,
    peakMemoryBytes: () => model.memory().peakBytes,
    gpu: () => (backendOf(environment.instructionPath) === 'CUDA' ? gpuReadings() : undefined),
    now: () => performance.now(),
  })
  const { arithmetic, canary, idle } = arithmeticOf(session, { signal, beat: live.beat })
  const seal = async (step: number, standing: Standing): Promise<SealedCheckpoint> => {
    // A stop leaves no time for it.
    const measured = signal.aborted ? undefined : await leavingOn(signal, canary())
    const checkpoint = await sealCheckpoint(attempt, session, recorder, step, standing, measured)
    await checkpoints.add(checkpoint, standing.best?.step)
    const reported = checkpoints.report(standing.best?.step)
    live.update({ checkpoints: reported })
    requests.answerCheckpoint(reported.at(-1)!)
    recorder.resumeClock()
    context.log.info({ step, digest: checkpoint.digest }, 'checkpoint')
    return checkpoint
  }

  let { step, standing } = resumed
  const options = {
    ...config.earlyStopping,
    schedule: plan.schedule,
    batches: plan.batches,
    evaluateEvery: config.evaluation.everySteps,
    checkpointEvery: config.checkpoints.everySteps,
    checkpointAsked: () => requests.wantsCheckpoint,
    from: { step, standing, evaluated: plan.evaluation === undefined || resumed.evaluatedStep === step },
  }
  requests.betweenSteps.open(deskOf(session, live.beat))
  try {
    for await (const fact of trainLoop(arithmetic, options, signal)) {
      step = fact.step
      if (fact.kind === 'step') {
        await recorder.step(fact)
        if (await requests.betweenSteps.serve(step, signal)) recorder.resumeClock()
      } else standing = fact.standing
      if (fact.kind === 'evaluation') await recorder.evaluation(fact.step, fact.result)
      if (fact.kind === 'checkpoint') {
        await tracker.flush() // the attempt after this checkpoint makes none of it again
        await seal(fact.step, fact.standing)
      }
      if (fact.kind === 'finished') live.update({ stoppedEarly: fact.stoppedEarly })
    }
  } catch (error) {
    model.cancel() // what the loop left behind ends at its next layer; the adapter can be read meanwhile
    const stopped = signal.aborted && signal.reason instanceof JobFailure && signal.reason.reason === 'Stopped'
    if (!stopped) throw error
    live.update({ state: 'RUN_STATE_STOPPING' })
    if (step > 0 && checkpoints.at(step) === undefined) await seal(step, standing)
    throw new JobFailure('Stopped', `${signal.reason.message}; the state of step ${step} is sealed`, { cause: error })
  } finally {
    await requests.betweenSteps.close()
    await idle()
    session.adapter.close()
  }
  return concludeRun(attempt, session, standing.best?.step, recorder.history)
}

/**
 * The arithmetic of the loop, the canary set measured on the adapter as it is, and `idle`: resolves when what an abort left behind has ended. The process must not exit
 * before, or the engine's threads would run on memory that the exit has torn down.
 */
function arithmeticOf({ config, plan, model, adapter, baseline, opened, environment }: Session, work: Work) {
  const { instructionPath } = environment
  const examples = plan.evaluation?.own.examples ?? plan.questions.train
  const texts = chooseCanary(examples, (tokens) => opened.tokenizer.decode(tokens))
  let baseLosses: readonly number[] | undefined
  const measureCanary = async (): Promise<Canary | undefined> => {
    baseLosses ??= await lossesOf(model, undefined, texts, work.beat)
    const losses = await lossesOf(model, adapter, texts, work.beat)
    return canaryOf({ backend: backendOf(instructionPath), instructionPath }, texts, losses, baseLosses)
  }
  let newest: Promise<unknown> = Promise.resolve()
  const tracked = <T>(operation: Promise<T>): Promise<T> => {
    newest = operation.then(work.beat, () => {})
    return operation
  }
  const arithmetic: Arithmetic = {
    accumulate: (batch, step) => tracked(model.accumulate(adapter, batch, step)),
    update: (step, learningRate, labelTokens) =>
      tracked(
        model.optimizerStep(adapter, {
          ...adamW,
          step,
          learningRate,
          gradientScale: 1 / labelTokens,
          maxGradientNorm: config.training.maxGradientNorm,
          weightDecay: config.training.weightDecay,
        }),
      ),
    evaluate: async (step) =>
      plan.evaluation && (await tracked(measure(model, adapter, plan.evaluation, step, baseline, work))).result,
  }
  return { arithmetic, canary: () => tracked(measureCanary()), idle: () => newest }
}

function sealCheckpoint(
  { runDirectory }: Attempt,
  { config, environment, templateDate, exact, opened, adapterConfig, plan, adapter }: Session,
  recorder: Recorder,
  step: number,
  standing: Standing,
  canary: Canary | undefined,
): Promise<SealedCheckpoint> {
  const { training, logging, evaluation, checkpoints, earlyStopping, quantization } = config
  const { evaluatedStep, history, tokensSeen } = recorder
  const state = formatTrainerState(
    { step, standing, evaluatedStep, history, tokensSeen },
    {
      schedule: plan.schedule,
      epochs: training.epochs,
      microBatchSize: training.microBatchSize,
      loggingSteps: logging.everySteps,
      evaluationSteps: evaluation.everySteps,
      checkpointSteps: checkpoints.everySteps,
      ...earlyStopping,
    },
  )
  const base = { digest: config.model.digest, quantization }
  const facts = { step, base, evaluation: recorder.evaluationAt(step), environment, exact, templateDate, canary }
  return writeCheckpoint(runDirectory, facts, (directory) =>
    writeCheckpointFiles(directory, adapter, adapterConfig, opened, state),
  )
}
