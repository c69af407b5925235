import type { Checkpoint, EvaluationResult, Metric, RunReport, RunState } from '#proto/humanizer/trainer/v1/run.ts'
import { ConditionType } from '../api/conditions.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { metricDirections } from '../api/metrics.ts'
import { RunReason } from '../api/run-reasons.ts'
import { findCondition, kubeTime, removeCondition, setCondition } from '../kube/conditions.ts'
import type { Status } from './decide.ts'
import { duration, figure, notFinite, percent } from './figures.ts'

/** Progress is written at most this often; checkpoints and changes of phase at once. */
const PROGRESS_SECONDS = 10
const MAX_CHECKPOINTS = 24
const MAX_WARNINGS = 16
const WARNING_CHARACTERS = 512
const MESSAGE_CHARACTERS = 4096

const phases: Readonly<Partial<Record<RunState, RunReason>>> = {
  RUN_STATE_PREPARING: RunReason.Preparing,
  RUN_STATE_MEASURING_BASELINE: RunReason.MeasuringBaseline,
  RUN_STATE_TRAINING: RunReason.Training,
  RUN_STATE_STOPPING: RunReason.Stopping,
}

/** What a trainer says it does; undefined when it has ended. */
export const phaseOf = ({ state }: RunReport): RunReason | undefined => phases[state]

/** The status with what a trainer reported. What it does not speak of stays as it was heard before. */
export function reported(run: QLoRARun, status: Status, report: RunReport, now: Date, when: Pace = 'paced'): Status {
  return withFinite(run, figures(run, status, report, now, when), report, now)
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
    message: `infinite or not a number, and therefore absent: ${paths.join(', ')}`.slice(0, MESSAGE_CHARACTERS),
    observedGeneration: metadata.generation ?? 0,
  } as const
  const conditions =
    paths.length > 0
      ? setCondition(status.conditions, says, now)
      : removeCondition(status.conditions, ConditionType.Finite)
  return { ...status, conditions }
}

function figures(run: QLoRARun, status: Status, report: RunReport, now: Date, when: Pace): Status {
  const phase = phaseOf(report)
  const checkpoints = report.checkpoints.slice(-MAX_CHECKPOINTS).map((checkpoint) => checkpointOf(run, checkpoint))
  const news =
    when === 'always' || phase !== status.progress?.phase || names(checkpoints) !== names(status.checkpoints ?? [])
  const fresh = now.getTime() - Date.parse(status.progress?.updateTime ?? '') < PROGRESS_SECONDS * 1000
  if (!news && fresh) return status
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
    ...(report.baseline && { baseline: baselineOf(report.baseline) }),
    ...(checkpoints.length > 0 && { checkpoints }),
    ...(report.data && {
      data: { ...report.data, packingEfficiency: figure(report.data.packingEfficiency, 3) ?? '' },
    }),
    ...(report.stoppedEarly && { stoppedEarly: true }),
    ...(report.warnings.length > 0 && {
      warnings: report.warnings.slice(0, MAX_WARNINGS).map((warning) => warning.slice(0, WARNING_CHARACTERS)),
    }),
  }
}

const names = (checkpoints: readonly { name: string; best?: boolean }[]): string =>
  checkpoints.map(({ name, best }) => `${name}${best ? '*' : ''}`).join()

function progressOf({ progress }: RunReport, phase: string | undefined, now: Date): NonNullable<Status['progress']> {
  const { step = 0, totalSteps = 0, epoch, trainLoss, evalLoss, tokensPerSecond, remainingSeconds } = progress ?? {}
  return present({
    phase,
    step,
    totalSteps,
    percent: percent(step, totalSteps),
    epoch: figure(epoch, 2),
    trainLoss: figure(trainLoss, 4),
    evalLoss: figure(evalLoss, 4),
    tokensPerSecond: figure(tokensPerSecond, 1),
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
function metricsOf(metrics: readonly Metric[]): NonNullable<NonNullable<Status['baseline']>['metrics']> | undefined {
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
