import type { Checkpoint, EvaluationResult, Metric, RunReport, RunState } from '#proto/humanizer/trainer/v1/run.ts'
import { ConditionType } from '../api/conditions.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { metricDirections } from '../api/metrics.ts'
import { RunReason } from '../api/run-reasons.ts'
import { findCondition, kubeTime, removeCondition, setCondition } from '../kube/conditions.ts'
import { believed } from './believed.ts'
import type { Status } from './decide.ts'
import { duration, figure, notFinite, percent } from './figures.ts'

/** Progress is written at most this often; checkpoints and changes of phase at once. */
const PROGRESS_SECONDS = 10
const MAX_CHECKPOINTS = 24
const MAX_WARNINGS = 16
const WARNING_CHARACTERS = 512
const MAX_FINDINGS = 8
const verdicts = ['Healthy', 'Overfitting', 'Underfitting', 'CopyCollapse', 'Unknown'] as const

const phases: Readonly<Partial<Record<RunState, RunReason>>> = {
  RUN_STATE_PREPARING: RunReason.Preparing,
  RUN_STATE_MEASURING_BASELINE: RunReason.MeasuringBaseline,
  RUN_STATE_TRAINING: RunReason.Training,
  RUN_STATE_EVALUATING: RunReason.Evaluating,
  RUN_STATE_STOPPING: RunReason.Stopping,
}

/** What a trainer says it does; undefined when it has ended. */
export const phaseOf = ({ state }: RunReport): RunReason | undefined => phases[state]

/** The status with what a trainer reported. What it does not speak of stays as it was heard before. */
export function reported(run: QLoRARun, status: Status, report: RunReport, now: Date, when: Pace = 'paced'): Status {
  const written = withFinite(run, figures(run, status, report, now, when), report, now)
  return withTracking(run, withDiagnosis(run, written, report, now), report, now)
}

type Pace = 'paced' | 'always'

/** What status lacks because it is no decimal stands in a condition. */
function withFinite({ metadata }: QLoRARun, status: Status, report: RunReport, now: Date): Status {
  const paths = notFinite(report)
  if (paths.length === 0 && !findCondition(status.conditions, ConditionType.Finite)) return status
  const says = {
    type: ConditionType.Finite,
    status: 'False',
    reason: RunReason.NotFinite,
    message: `infinite or not a number, and therefore absent: ${paths.join(', ')}`,
    observedGeneration: metadata.generation ?? 0,
  } as const
  const conditions =
    paths.length > 0
      ? setCondition(status.conditions, says, now)
      : removeCondition(status.conditions, ConditionType.Finite)
  return { ...status, conditions }
}

/** How it goes with the tracking server is a condition of its own: nothing else hangs on it. */
function withTracking({ metadata }: QLoRARun, status: Status, { tracking }: RunReport, now: Date): Status {
  if (tracking === undefined) return status
  const { url, problem } = tracking
  const isWell = problem === ''
  const conditions = setCondition(
    status.conditions,
    {
      type: ConditionType.Tracked,
      status: isWell ? 'True' : 'False',
      reason: isWell ? RunReason.Tracked : RunReason.TrackingFailed,
      message: [url, problem].filter(Boolean).join(': '),
      observedGeneration: metadata.generation ?? 0,
    },
    now,
  )
  return { ...status, conditions }
}

/** What became of the run stands in status and, so that an Event tells it, in a condition. */
function withDiagnosis({ metadata }: QLoRARun, status: Status, { diagnosis }: RunReport, now: Date): Status {
  const reason = verdicts.find((known) => known === diagnosis?.verdict)
  if (diagnosis === undefined || reason === undefined) return status
  const says = [...diagnosis.findings.map(({ evidence }) => evidence), ...diagnosis.advice]
  const conditions = setCondition(
    status.conditions,
    {
      type: ConditionType.Healthy,
      status: reason === 'Healthy' ? 'True' : reason === 'Unknown' ? 'Unknown' : 'False',
      reason,
      message: says.join('; '),
      observedGeneration: metadata.generation ?? 0,
    },
    now,
  )
  const findings = diagnosis.findings.slice(0, MAX_FINDINGS).map(({ verdict, evidence }) => ({
    verdict: verdict.slice(0, 32),
    evidence: evidence.slice(0, WARNING_CHARACTERS),
  }))
  const advice = diagnosis.advice.slice(0, MAX_FINDINGS).map((words) => words.slice(0, 256))
  return { ...status, conditions, diagnosis: { verdict: reason, findings, advice } }
}

function figures(run: QLoRARun, status: Status, report: RunReport, now: Date, when: Pace): Status {
  const phase = phaseOf(report)
  const { checkpoints: sound, doubts } = believed(report)
  const checkpoints = sound.slice(-MAX_CHECKPOINTS).map((checkpoint) => checkpointOf(run, checkpoint))
  const warnings = [...doubts, ...report.warnings]
  const news =
    when === 'always' || phase !== status.progress?.phase || names(checkpoints) !== names(status.checkpoints ?? [])
  const fresh = now.getTime() - Date.parse(status.progress?.updateTime ?? '') < PROGRESS_SECONDS * 1000
  if (!news && fresh) return status
  const before = ({ digest }: { digest: string }) => status.checkpoints?.find((each) => each.digest === digest)
  const last = status.attempts?.at(-1)
  const attempts = last && [
    ...(status.attempts ?? []).slice(0, -1),
    { ...last, resumedFromStep: report.resumedFromStep, exact: report.exact },
  ]
  return {
    ...status,
    ...(attempts && { attempts }),
    ...(report.progress
      ? { progress: progressOf(report, phase, now) }
      : status.progress && { progress: present({ ...status.progress, phase }) }),
    ...(report.baseline && { baseline: withHeard(baselineOf(report.baseline), status.baseline) }),
    ...(checkpoints.length > 0 && { checkpoints: checkpoints.map((each) => withHeard(each, before(each))) }),
    ...(report.data && {
      data: { ...report.data, packingEfficiency: figure(report.data.packingEfficiency, 3) ?? '' },
    }),
    ...(report.stoppedEarly && { stoppedEarly: true }),
    ...(warnings.length > 0 && {
      warnings: warnings.slice(0, MAX_WARNINGS).map((warning) => warning.slice(0, WARNING_CHARACTERS)),
    }),
  }
}

/** A short result leaves metrics out that were heard before, of the very same adapter. */
function withHeard<T extends { metrics?: Metrics }>(now: T, before: { metrics?: Metrics } | undefined): T {
  const told = now.metrics?.length ?? 0
  return before?.metrics && before.metrics.length > told ? { ...now, metrics: before.metrics } : now
}
type Metrics = NonNullable<NonNullable<Status['baseline']>['metrics']>

const names = (checkpoints: readonly { name: string; best?: boolean }[]): string =>
  checkpoints.map(({ name, best }) => `${name}${best ? '*' : ''}`).join()

function progressOf({ progress }: RunReport, phase: string | undefined, now: Date): NonNullable<Status['progress']> {
  const {
    step = 0,
    totalSteps = 0,
    epoch,
    trainLoss,
    evalLoss,
    tokensPerSecond,
    remainingSeconds,
    gpu,
  } = progress ?? {}
  const gpuPercent = figure(gpu?.utilizationPercent, 0)
  return present({
    phase,
    step,
    totalSteps,
    percent: percent(step, totalSteps),
    epoch: figure(epoch, 2),
    trainLoss: figure(trainLoss, 4),
    evalLoss: figure(evalLoss, 4),
    tokensPerSecond: figure(tokensPerSecond, 1),
    gpuUtilization: gpuPercent && `${gpuPercent}%`,
    remaining: duration(remainingSeconds),
    updateTime: kubeTime(now),
  })
}

function baselineOf({
  loss,
  lossInterval,
  humanLoss,
  unquantizedLoss,
  metrics,
}: EvaluationResult): NonNullable<Status['baseline']> {
  return present({
    loss: figure(loss, 6),
    lossInterval: figure(lossInterval, 6),
    humanLoss: figure(humanLoss, 6),
    unquantizedLoss: figure(unquantizedLoss, 6),
    metrics: metricsOf(metrics),
  })
}

/** A termination message leaves out name and path where they follow from the step. */
function checkpointOf(
  { metadata: { namespace, name: run, uid } }: QLoRARun,
  { name: given, step, digest, path, best, evaluation }: Checkpoint,
): NonNullable<Status['checkpoints']>[number] {
  const name = given || `checkpoint-${step}`
  return present({
    name,
    step,
    digest,
    path: path || `runs/${namespace}/${run}/${uid}/${name}`,
    best,
    evalLoss: figure(evaluation?.loss, 6),
    evalLossInterval: figure(evaluation?.lossInterval, 6),
    humanLoss: figure(evaluation?.humanLoss, 6),
    metrics: metricsOf(evaluation?.metrics ?? []),
  })
}

/** A metric that is not finite, or that this operator does not know, is left out. */
function metricsOf(metrics: readonly Metric[]): Metrics | undefined {
  const known = metrics.flatMap(({ name, value, low, high }) => {
    const decimal = figure(value, 6)
    if (decimal === undefined || !Object.hasOwn(metricDirections, name)) return []
    return [present({ name, value: decimal, low: figure(low, 6), high: figure(high, 6) })]
  })
  return known.length > 0 ? known : undefined
}

/** Without the fields that are undefined. */
type Present<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>
}
function present<T extends object>(value: T): Present<T> {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as Present<T>
}
