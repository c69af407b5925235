import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import { type Outcome, settled, waiting } from '../controller/outcome.ts'
import type { Refusal } from '../workload/children.ts'
import { type Decision, decide, type Observed, type Status } from './decide.ts'
import { statusAfter } from './status.ts'

/** Everything that a dataset's reconcile does to the world. */
export interface DatasetEffects {
  observe(dataset: HumanizerDataset, now: Date): Promise<Observed>
  /** Writes the status if it differs; resolves the object as it now is. */
  record(dataset: HumanizerDataset, status: Status): Promise<HumanizerDataset>
  /** Carries out what the status now says. Resolves why not, if the API server refused. */
  act(dataset: HumanizerDataset, decision: Decision): Promise<Refusal | undefined>
}

/** Observe, decide, record, act: the status says what is going to be before it is done, so a crash in between repeats it. */
export async function reconcileDataset(
  dataset: HumanizerDataset,
  effects: DatasetEffects,
  now: Date,
): Promise<Outcome> {
  const decision = decide(dataset, await effects.observe(dataset, now), now)
  const recorded = await effects.record(dataset, statusAfter(dataset, decision, now))
  const refusal = await effects.act(recorded, decision)
  if (refusal) await effects.record(recorded, statusAfter(recorded, refusal, now))
  return outcomeOf(refusal ?? decision)
}

/** Seconds until a step that a watch should tell of is looked at all the same; also the pace of progress. */
const LOOK_AGAIN = 10

export function outcomeOf(decision: Decision): Outcome {
  switch (decision.kind) {
    case 'rest':
    case 'ready':
    case 'publish':
      return settled
    case 'hold':
    case 'wait':
      return waiting(decision.seconds)
    case 'stall':
      return decision.seconds === undefined ? settled : waiting(decision.seconds)
    case 'makeClaim':
    case 'endAttempt':
      return waiting(1)
    case 'prepare':
    case 'follow':
    case 'clear':
      return waiting(LOOK_AGAIN)
  }
}
