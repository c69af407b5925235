import type { Logger } from 'pino'
import type { EvaluationResult, Progress } from '#proto/humanizer/trainer/v1/run.ts'
import type { GpuReadings } from '../native/index.ts'
import type { LiveRun } from './live-run.ts'
import type { Fact } from './loop.ts'
import type { Schedule } from './schedule.ts'
import type { ScalarLog } from './tensorboard.ts'
import type { LogEntry, TrainerState } from './trainer-state.ts'

type StepFact = Extract<Fact, { kind: 'step' }>

export interface RecorderOptions {
  readonly live: LiveRun
  readonly log: Logger
  readonly scalars: ScalarLog
  readonly schedule: Schedule
  /** Steps between two log lines; 0 logs none. */
  readonly logEvery: number
  readonly from: Omit<TrainerState, 'standing'>
  readonly peakMemoryBytes: () => number
  /** Asked once for each log line; undefined where no GPU computes or it tells nothing. */
  readonly gpu: () => GpuReadings | undefined
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number
}

/** Turns the loop's facts into progress, log lines, TensorBoard scalars and the history that checkpoints hold. */
export class Recorder {
  readonly #options: RecorderOptions
  readonly #began: number
  #lastFact: number
  #history: LogEntry[]
  #tokensSeen: number
  #evaluatedStep: number | undefined
  #window = { nll: 0, labelTokens: 0, tokens: 0, milliseconds: 0 }
  #gpu: GpuReadings | undefined
  #evaluations = new Map<number, EvaluationResult>()

  constructor(options: RecorderOptions) {
    this.#options = options
    this.#began = options.now()
    this.#lastFact = this.#began
    this.#history = [...options.from.history]
    this.#tokensSeen = options.from.tokensSeen
    this.#evaluatedStep = options.from.evaluatedStep
  }

  get history(): readonly LogEntry[] {
    return this.#history
  }

  get tokensSeen(): number {
    return this.#tokensSeen
  }

  get evaluatedStep(): number | undefined {
    return this.#evaluatedStep
  }

  evaluationAt(step: number): EvaluationResult | undefined {
    return this.#evaluations.get(step)
  }

  async step(fact: StepFact): Promise<void> {
    const { live, log, scalars, schedule, logEvery } = this.#options
    const now = this.#options.now()
    const milliseconds = Math.max(1, now - this.#lastFact)
    this.#lastFact = now
    this.#tokensSeen += fact.tokens
    const window = this.#window
    window.nll += fact.loss * fact.labelTokens
    window.labelTokens += fact.labelTokens
    window.tokens += fact.tokens
    window.milliseconds += milliseconds
    const isLogged = logEvery > 0 && (fact.step % logEvery === 0 || fact.step === schedule.totalSteps)
    if (isLogged) this.#gpu = this.#options.gpu()
    live.update({ progress: this.#progress(fact, (1000 * fact.tokens) / milliseconds, now) })
    if (!fact.finite || fact.nonFinite !== undefined)
      log.warn(
        { step: fact.step, in: fact.nonFinite },
        'numbers are not finite; an update with such a gradient is skipped',
      )
    if (fact.notKept !== undefined)
      log.warn(
        { step: fact.step, reason: fact.notKept },
        'steps of these lengths run as they come, not as a CUDA graph',
      )
    if (!isLogged) return
    const loss = window.nll / window.labelTokens
    const tokensPerSecond = (1000 * window.tokens) / window.milliseconds
    this.#window = { nll: 0, labelTokens: 0, tokens: 0, milliseconds: 0 }
    const { step, learningRate, gradientNorm } = fact
    const epoch = step / schedule.stepsPerEpoch
    this.#history.push({ step, epoch, loss, grad_norm: gradientNorm, learning_rate: learningRate })
    const gpu = this.#gpu
    log.info({ step, totalSteps: schedule.totalSteps, loss, learningRate, gradientNorm, tokensPerSecond, gpu }, 'step')
    await scalars.write(step, {
      'train/loss': loss,
      'train/learning_rate': learningRate,
      'train/grad_norm': gradientNorm,
      'train/tokens_per_second': tokensPerSecond,
      'gpu/utilization_percent': gpu?.utilizationPercent,
      'gpu/memory_used_bytes': gpu?.memoryUsedBytes,
      'gpu/power_watts': gpu?.powerWatts,
      'gpu/temperature_celsius': gpu?.temperatureCelsius,
    })
  }

  async evaluation(step: number, result: EvaluationResult): Promise<void> {
    const { live, log, scalars, schedule } = this.#options
    this.#evaluations.set(step, result)
    this.#evaluatedStep = step
    this.#history.push({
      step,
      epoch: step / schedule.stepsPerEpoch,
      ...(result.loss !== undefined && { eval_loss: result.loss }),
      ...(result.humanLoss !== undefined && { eval_human_loss: result.humanLoss }),
    })
    const progress = live.report.progress
    if (progress !== undefined) live.update({ progress: { ...progress, evalLoss: result.loss } })
    const { loss, lossInterval: interval, humanLoss, metrics } = result
    const improvement = metrics.find(({ name }) => name === 'improvement')
    log.info({ step, loss, interval, humanLoss, improvement }, 'evaluation')
    await scalars.write(step, {
      'eval/loss': loss,
      'eval/human_loss': humanLoss,
      'eval/improvement': improvement?.value,
    })
    this.#lastFact = this.#options.now()
  }

  /** Time that a checkpoint took belongs to no step. */
  resumeClock(): void {
    this.#lastFact = this.#options.now()
  }

  #progress({ step, loss, learningRate, gradientNorm }: StepFact, tokensPerSecond: number, now: number): Progress {
    const { live, schedule, from, peakMemoryBytes } = this.#options
    const secondsPerStep = (now - this.#began) / 1000 / (step - from.step)
    const finite = (value: number): number | undefined => (Number.isFinite(value) ? value : undefined)
    return {
      step,
      totalSteps: schedule.totalSteps,
      epoch: step / schedule.stepsPerEpoch,
      trainLoss: finite(loss),
      evalLoss: live.report.progress?.evalLoss,
      tokensPerSecond,
      learningRate,
      gradientNorm: finite(gradientNorm),
      remainingSeconds: Math.round(secondsPerStep * (schedule.totalSteps - step)),
      peakMemoryBytes: peakMemoryBytes(),
      gpu: this.#gpu,
    }
  }
}
