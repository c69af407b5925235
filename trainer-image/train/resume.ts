import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Progress } from '#proto/humanizer/trainer/v1/run.ts'
import type { SealedCheckpoint } from './checkpoint.ts'
import { newStanding, type Standing } from './early-stopping.ts'
import { judgedLoss } from './loop.ts'
import { trainerStateName } from './resume-files.ts'
import { differences, type Environment } from './run-config.ts'
import type { Schedule } from './schedule.ts'
import { type LogEntry, parseTrainerState, type TrainerState } from './trainer-state.ts'

/** The state to go on from: that of the newest sealed checkpoint, or a new run's. */
export async function resumedState(
  sealed: readonly SealedCheckpoint[],
  warn: (message: string) => void,
): Promise<TrainerState> {
  const newest = sealed.at(-1)
  if (newest === undefined)
    return { step: 0, standing: newStanding, evaluatedStep: undefined, history: [], tokensSeen: 0 }
  const state = parseTrainerState(await readFile(join(newest.directory, trainerStateName), 'utf8'))
  const standing = standingOnDisk(state.standing, sealed)
  if (standing !== state.standing)
    warn(
      `checkpoint-${state.standing.best?.step}, the best so far, was lost; the best is now ${standing.best === undefined ? 'unknown' : `checkpoint-${standing.best.step}`}`,
    )
  return { ...state, standing }
}

/** The standing when its best is still there, else with the best of what is: what cannot be served is no best. */
export function standingOnDisk(standing: Standing, sealed: readonly SealedCheckpoint[]): Standing {
  if (standing.best === undefined || sealed.some(({ step }) => step === standing.best?.step)) return standing
  let best: Standing['best']
  for (const { step, evaluation } of sealed) {
    const loss = evaluation && judgedLoss(evaluation)
    if (loss !== undefined && (best === undefined || loss < best.loss)) best = { step, loss }
  }
  return { ...standing, best }
}

/** What keeps this attempt from going on bit for bit, in words; nothing when it is exact. */
export function inexactness(newest: SealedCheckpoint | undefined, atStart: Environment, now: Environment): string[] {
  const changed = differences(newest?.environment ?? atStart, now)
  return newest?.exact === false ? [`${newest.name} is of an attempt that was not`, ...changed] : changed
}

/** How far a resumed run is before its first own step, so that one with no step left to make has progress too. */
export function resumedProgress(
  { step, history }: TrainerState,
  { totalSteps, stepsPerEpoch }: Schedule,
): Progress | undefined {
  if (step === 0) return undefined
  const newest = (field: Exclude<keyof LogEntry, 'step' | 'epoch'>): number | undefined =>
    history.findLast((entry) => entry[field] !== undefined)?.[field]
  return Progress.fromPartial({
    step,
    totalSteps,
    epoch: step / stepsPerEpoch,
    trainLoss: newest('loss'),
    evalLoss: newest('eval_loss'),
    learningRate: newest('learning_rate'),
    gradientNorm: newest('grad_norm'),
  })
}
