import type { Standing } from './early-stopping.ts'
import type { Schedule } from './schedule.ts'

/** One entry of log_history: a training step or an evaluation, told apart by `loss` and `eval_loss`. */
export interface LogEntry {
  readonly step: number
  readonly epoch: number
  readonly loss?: number
  readonly grad_norm?: number
  readonly learning_rate?: number
  readonly eval_loss?: number
  readonly eval_human_loss?: number
}

/** What of a run's history a checkpoint must hold so that a resume goes on as if nothing had happened. */
export interface TrainerState {
  readonly step: number
  readonly standing: Standing
  /** Step of the newest evaluation that the standing knows of, also of one whose loss was not finite. */
  readonly evaluatedStep: number | undefined
  readonly history: readonly LogEntry[]
  /** Tokens that went through the model in training, prompts included. */
  readonly tokensSeen: number
}

export interface TrainerStateFacts {
  readonly schedule: Schedule
  readonly epochs: number
  readonly microBatchSize: number
  readonly loggingSteps: number
  readonly evaluationSteps: number
  readonly checkpointSteps: number
  readonly patience: number
  readonly minImprovement: number
}

const finite = (value: number | undefined): boolean => value === undefined || Number.isFinite(value)

/** trainer_state.json with the fields and the layout of Hugging Face's Trainer (indent 2, sorted keys). */
export function formatTrainerState(state: TrainerState, facts: TrainerStateFacts): string {
  const { step, standing, evaluatedStep, history, tokensSeen } = state
  const { best } = standing
  const fields = {
    best_global_step: best?.step ?? null,
    best_metric: best?.loss ?? null,
    best_model_checkpoint: best === undefined ? null : `checkpoint-${best.step}`,
    epoch: step / facts.schedule.stepsPerEpoch,
    eval_steps: facts.evaluationSteps,
    global_step: step,
    is_hyper_param_search: false,
    is_local_process_zero: true,
    is_world_process_zero: true,
    log_history: history.map((entry) => Object.fromEntries(Object.entries(entry).filter(([, value]) => finite(value)))),
    logging_steps: facts.loggingSteps,
    max_steps: facts.schedule.totalSteps,
    num_input_tokens_seen: tokensSeen,
    num_train_epochs: Math.ceil(facts.epochs),
    save_steps: facts.checkpointSteps,
    stateful_callbacks: {
      EarlyStoppingCallback: {
        args: { early_stopping_patience: facts.patience, early_stopping_threshold: facts.minImprovement },
        attributes: {
          early_stopping_patience_counter: standing.withoutImprovement,
          evaluated_step: evaluatedStep ?? null,
        },
      },
    },
    total_flos: 0,
    train_batch_size: facts.microBatchSize,
    trial_name: null,
    trial_params: null,
  }
  return `${JSON.stringify(fields, null, 2)}\n`
}

interface StateFields {
  readonly global_step: number
  readonly best_global_step: number | null
  readonly best_metric: number | null
  readonly log_history: readonly LogEntry[]
  readonly num_input_tokens_seen: number
  readonly stateful_callbacks: {
    readonly EarlyStoppingCallback: {
      readonly attributes: { readonly early_stopping_patience_counter: number; readonly evaluated_step: number | null }
    }
  }
}

/** Reads what formatTrainerState wrote. The bytes were checked against the manifest before. */
export function parseTrainerState(text: string): TrainerState {
  const fields = JSON.parse(text) as StateFields
  const { best_global_step: step, best_metric: loss } = fields
  const { attributes } = fields.stateful_callbacks.EarlyStoppingCallback
  return {
    step: fields.global_step,
    standing: {
      best: step === null || loss === null ? undefined : { step, loss },
      withoutImprovement: attributes.early_stopping_patience_counter,
    },
    evaluatedStep: attributes.evaluated_step ?? undefined,
    history: fields.log_history,
    tokensSeen: fields.num_input_tokens_seen,
  }
}
