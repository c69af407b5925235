import type { EvaluationResult, Metric } from '#proto/humanizer/trainer/v1/run.ts'
import { isCopy } from '../evaluate/copying.ts'
import { diagnose } from '../evaluate/diagnosis.ts'
import { type Answers, answersOf, metricsOfAnswers, referenceMetrics, type Subject } from '../evaluate/subject.ts'
import type { Adapter, Model } from '../native/index.ts'
import type { Attempt } from './attempt.ts'
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

/** Measures what came of the run and says what became of it. */
export async function concludeRun(
  attempt: Attempt,
  session: Session,
  bestStep: number | undefined,
  history: readonly LogEntry[],
): Promise<void> {
  const { live, signal, context } = attempt
  const { baseline, base, plan, checkpoints } = session
  live.update({ state: 'RUN_STATE_EVALUATING' })
  const concluded = await evaluateCheckpoints(attempt, session, bestStep)
  const references = await referenceMetrics(plan.questions, { signal, beat: live.beat })
  const best = bestStep === undefined ? undefined : checkpoints.at(bestStep)
  const diagnosis = diagnose({
    history,
    baseline: baseline?.result,
    best: best?.evaluation,
    newest: checkpoints.newest?.evaluation,
    human: { metrics: references.human },
    sameAsBase: best && sameShare(base?.answers, concluded.get(best.step)?.answers),
  })
  live.update({ diagnosis })
  context.log.info({ ...diagnosis }, 'diagnosed')
}

/** Share of the samples for which two subjects wrote the same, but for what makes no copy of a copy. */
function sameShare(a: Answers | undefined, b: Answers | undefined): number | undefined {
  if (a === undefined || b === undefined || a.outputs.length === 0) return undefined
  const same = a.outputs.filter(({ text }, index) => isCopy(text, b.outputs[index]?.text ?? ''))
  return same.length / a.outputs.length
}
