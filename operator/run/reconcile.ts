import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { type Outcome, settled, waiting } from '../controller/outcome.ts'
import type { Refusal } from '../workload/children.ts'
import { type Decision, decide, type Observed, type Status } from './decide.ts'
import { statusAfter } from './status.ts'

/** Everything that a run's reconcile does to the world. */
export interface RunEffects {
  observe(run: QLoRARun, now: Date): Promise<Observed>
  /** Writes the status if it differs; resolves the object as it now is. */
  record(run: QLoRARun, status: Status): Promise<QLoRARun>
  /** Carries out what the status now says. Resolves why not, if the API server refused. */
  act(run: QLoRARun, decision: Decision): Promise<Refusal | undefined>
}

/** Observe, decide, record, act: the status says what is going to be before it is done, so a crash in between repeats it. */
export async function reconcileRun(run: QLoRARun, effects: RunEffects, now: Date): Promise<Outcome> {
  const observed = await effects.observe(run, now)
  const decision = decide(run, observed, now)
  const recorded = await effects.record(run, statusAfter(run, decision, now, observed))
  const refusal = await effects.act(recorded, decision)
  if (refusal) await effects.record(recorded, statusAfter(recorded, refusal, now, observed))
  return outcomeOf(refusal ?? decision)
}

/** Seconds until a step that a watch should tell of is looked at all the same; also the pace of progress. */
const LOOK_AGAIN = 10

export function outcomeOf(decision: Decision): Outcome {
  switch (decision.kind) {
    case 'rest':
    case 'succeed':
      return settled
    case 'hold':
    case 'wait':
      return waiting(decision.seconds)
    case 'stall':
      return decision.seconds === undefined ? settled : waiting(decision.seconds)
    case 'begin':
    case 'endFetch':
    case 'pinModel':
    case 'endAttempt':
    case 'fail':
    case 'restart':
      return waiting(1)
    case 'fetch':
    case 'train':
    case 'follow':
    case 'suspend':
    case 'clear':
      return waiting(LOOK_AGAIN)
  }
}
