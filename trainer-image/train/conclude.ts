import { join } from 'node:path'
import type { EvaluationResult, Metric } from '#proto/humanizer/trainer/v1/run.ts'
import type { Settings } from '../evaluate/advice.ts'
import { isCopy } from '../evaluate/copying.ts'
import { diagnose } from '../evaluate/diagnosis.ts'
import type { Figure } from '../evaluate/judgement.ts'
import { proportion } from '../evaluate/proportion.ts'
import { htmlOf, type ReviewedSample } from '../evaluate/report.ts'
import { type Answers, answersOf, metricsOfAnswers, referenceMetrics, type Subject } from '../evaluate/subject.ts'
import type { Adapter, Model } from '../native/index.ts'
import { writeFileAtomic } from '../storage/atomic.ts'
import type { Attempt } from './attempt.ts'
import { measure } from './baseline.ts'
import { checklistOf, licensesOf } from './checklist.ts'
import type { SealedCheckpoint } from './checkpoint.ts'
import { openSealed } from './opening.ts'
import type { Plan } from './plan.ts'
import type { Session } from './session.ts'
import type { LogEntry } from './trainer-state.ts'

/** A subject's answers and what they measure to. */
export interface Concluded {
  readonly answers: Answers
  readonly metrics: readonly Metric[]
}

/**
 * What a subject writes for the run's samples, measured. What cannot be measured is a warning and never fails the run: its
 * metrics are then absent, which a gate takes for missing evidence.
 */
export async function measureOutputs(
  { live, runDirectory, signal, context }: Pick<Attempt, 'live' | 'runDirectory' | 'signal' | 'context'>,
  { questions }: Plan,
  subject: Subject,
  open: () => Promise<{ readonly model: Model; readonly adapter: Adapter | undefined }>,
): Promise<Concluded | undefined> {
  if (questions.samples.length === 0) return undefined
  const work = { signal, beat: live.beat }
  const began = performance.now()
  try {
    const answers = await answersOf(subject, runDirectory, questions, open, work)
    const metrics = await metricsOfAnswers(answers, questions, work)
    const seconds = (performance.now() - began) / 1000
    const figures = Object.fromEntries(metrics.map(({ name, value }) => [name, value]))
    context.log.info({ ...figures, samples: questions.samples.length, seconds }, `outputs of ${subject.name}`)
    return { answers, metrics }
  } catch (error) {
    if (signal.aborted) throw error
    context.log.warn({ err: error }, `outputs of ${subject.name} could not be measured`)
    live.warn(`outputs of ${subject.name} could not be measured: ${(error as Error).message}`)
    return undefined
  }
}

/** The result with these metrics in place of those of the same names. */
export function withMetrics(result: EvaluationResult, metrics: readonly Metric[]): EvaluationResult {
  const names = new Set(metrics.map(({ name }) => name))
  return { ...result, metrics: [...result.metrics.filter(({ name }) => !names.has(name)), ...metrics] }
}

/**
 * The loss of every checkpoint that is kept and was sealed between two evaluations, because a pod was stopped or somebody asked for it.
 * As with outputs, what cannot be measured is a warning.
 */
async function evaluateRest({ live, signal, context }: Attempt, session: Session): Promise<void> {
  const { config, adapterConfig, plan, model, baseline, checkpoints } = session
  if (plan.evaluation === undefined) return
  for (const checkpoint of checkpoints.all.filter(({ evaluation }) => evaluation === undefined)) {
    try {
      const adapter = await openSealed(model, config, adapterConfig, checkpoint)
      try {
        const work = { signal, beat: live.beat }
        const { result } = await measure(model, adapter, plan.evaluation, checkpoint.step, baseline, work)
        await checkpoints.record(checkpoint, result)
        context.log.info({ step: checkpoint.step, loss: result.loss }, 'evaluated after training')
      } finally {
        adapter.close()
      }
    } catch (error) {
      if (signal.aborted) throw error
      context.log.warn({ err: error }, `${checkpoint.name} could not be evaluated`)
      live.warn(`${checkpoint.name} could not be evaluated: ${(error as Error).message}`)
    }
  }
}

/** After the last step: best and newest checkpoint write the samples, read back from their sealed files as serving would. */
async function evaluateCheckpoints(
  attempt: Attempt,
  session: Session,
  bestStep: number | undefined,
): Promise<ReadonlyMap<number, Concluded>> {
  const { config, adapterConfig, plan, model, checkpoints } = session
  const found = new Map<number, Concluded>()
  const best = bestStep === undefined ? undefined : checkpoints.at(bestStep)
  const subjects = new Set([best, checkpoints.newest].filter((each): each is SealedCheckpoint => each !== undefined))
  for (const checkpoint of subjects) {
    const concluded = await measureOutputs(attempt, plan, checkpoint, async () => ({
      model,
      adapter: await openSealed(model, config, adapterConfig, checkpoint),
    }))
    if (concluded === undefined) continue
    found.set(checkpoint.step, concluded)
    if (checkpoint.evaluation === undefined) continue
    await checkpoints.record(checkpoint, withMetrics(checkpoint.evaluation, concluded.metrics))
    attempt.live.update({ checkpoints: checkpoints.report(bestStep) })
  }
  return found
}

/** What cannot be measured is a warning here, too. */
async function measureReferences(
  { live, signal, context }: Attempt,
  { model, plan }: Session,
): ReturnType<typeof referenceMetrics> {
  try {
    return await referenceMetrics(model, plan.questions, { signal, beat: live.beat })
  } catch (error) {
    if (signal.aborted) throw error
    context.log.warn({ err: error }, 'the references could not be measured')
    live.warn(`inputs and human texts could not be measured: ${(error as Error).message}`)
    return { copy: [], machine: [], human: [] }
  }
}

/** What is left of a run for the one who reviews. */
export interface Conclusion {
  readonly best: SealedCheckpoint | undefined
  readonly samples: readonly ReviewedSample[]
}

/** Measures what came of the run, says what became of it, and leaves samples.jsonl and report.html for the one who reviews. */
export async function concludeRun(
  attempt: Attempt,
  session: Session,
  bestStep: number | undefined,
  history: readonly LogEntry[],
): Promise<Conclusion> {
  const { live, context, runDirectory } = attempt
  const { config, baseline, base, plan, checkpoints } = session
  live.update({ state: 'RUN_STATE_EVALUATING' })
  await evaluateRest(attempt, session)
  live.update({ checkpoints: checkpoints.report(bestStep) })
  const concluded = await evaluateCheckpoints(attempt, session, bestStep)
  const references = await measureReferences(attempt, session)
  const best = bestStep === undefined ? undefined : checkpoints.at(bestStep)
  const diagnosis = diagnose(
    {
      history,
      baseline: baseline?.result,
      best: best?.evaluation,
      newest: checkpoints.newest?.evaluation,
      human: { metrics: references.human },
      sameAsBase: best && sameShare(base?.answers, concluded.get(best.step)?.answers),
      texts: {
        written: plan.questions.samples.length,
        begun: plan.questions.continuations.length,
        heldOut: plan.evaluation?.own.examples.length ?? 0,
      },
    },
    settingsOf(session, bestStep),
  )
  live.update({ diagnosis })
  context.log.info({ ...diagnosis }, 'diagnosed')
  const wrote = best && concluded.get(best.step)
  const { questions } = plan
  const samples = questions.samples.map(({ id, input, human }, index) => ({
    id,
    input,
    human,
    base: base?.answers.outputs[index]?.text,
    best: wrote?.answers.outputs[index]?.text,
  }))
  const newest = checkpoints.newest
  const rows = [
    { name: 'base', metrics: baseline?.result.metrics ?? [] },
    ...(best ? [{ name: `best: ${best.name}`, metrics: best.evaluation?.metrics ?? [] }] : []),
    ...(newest && newest.step !== bestStep ? [{ name: newest.name, metrics: newest.evaluation?.metrics ?? [] }] : []),
    { name: 'copy of the input', metrics: references.copy },
    ...(references.machine.length > 0 ? [{ name: 'machine-written inputs', metrics: references.machine }] : []),
    { name: 'human text', metrics: references.human },
  ]
  const { owner, objective, model, datasetDigest, configDigest } = config
  const page = htmlOf({
    title: `Run ${owner.namespace}/${owner.name}`,
    about: {
      objective: objective || 'none given',
      'base model': `${model.name} ${model.digest}`,
      dataset: datasetDigest,
      'best checkpoint': best ? `${best.name} ${best.digest}` : 'none',
    },
    diagnosis,
    baseline: baseline?.result,
    bestStep,
    history,
    rows: samples.length > 0 ? rows : [],
    samples,
    checklist: checklistOf({
      objective,
      licenses: await licensesOf(join(context.dataDir, config.datasetPath)),
      trainExamples: questions.train.length,
      validationExamples: plan.evaluation?.own.examples.length ?? 0,
      baseline: baseline?.result,
      configDigest,
      best: best && { name: best.name, digest: best.digest, wrote: wrote !== undefined },
      measured: wrote?.metrics.length ?? 0,
    }),
    warnings: live.report.warnings,
  })
  const lines = samples.map((sample) => `${JSON.stringify({ ...sample, digest: best?.digest })}\n`)
  await writeFileAtomic(join(runDirectory, 'samples.jsonl'), lines.join(''))
  await writeFileAtomic(join(runDirectory, 'report.html'), page)
  return { best, samples }
}

/** Share of the samples for which two subjects wrote the same, but for what makes no copy of a copy. */
function sameShare(a: Answers | undefined, b: Answers | undefined): Figure | undefined {
  if (a === undefined || b === undefined) return undefined
  const found = proportion(a.outputs.map(({ text }, index) => isCopy(text, b.outputs[index]?.text ?? '')))
  return found?.interval && { value: found.value, ...found.interval }
}

function settingsOf({ config, plan, checkpoints }: Session, bestStep: number | undefined): Settings {
  const { training, lora, earlyStopping, evaluation } = config
  return {
    ...plan.asked,
    epochs: training.epochs,
    maxSteps: training.maxSteps,
    stepsPerEpoch: plan.schedule.stepsPerEpoch,
    rank: lora.rank,
    dropout: lora.dropout,
    learningRate: training.learningRate,
    patience: earlyStopping.patience,
    trainExamples: plan.questions.train.length,
    maxExamples: evaluation.maxExamples,
    best: bestStep,
    newest: checkpoints.newest?.step,
  }
}
