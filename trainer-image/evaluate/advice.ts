/* The documented mitigations, in terms of the run's own settings: the value now and the one to try. */
import { COPIES, type Evidence, type Failure, type Found } from './findings.ts'

/** What a run did, as its configuration names it. */
export interface Settings {
  /** format.sample of the dataset. */
  readonly sample: string
  readonly epochs: number
  /** 0: epochs decided. */
  readonly maxSteps: number
  readonly stepsPerEpoch: number
  readonly rank: number
  readonly dropout: number
  readonly learningRate: number
  readonly patience: number
  readonly trainExamples: number
  /** split.trainPercent of the dataset. */
  readonly trainPercent: number
  readonly samples: number
  readonly maxExamples: number
  /** Label tokens of one evaluation at most. */
  readonly maxTokens: number
  /** Steps of the best and the newest checkpoint. */
  readonly best: number | undefined
  readonly newest: number | undefined
}

/** Passes over the data that are not enough, and the ones that are plenty. */
const EPOCHS = { initially: 2, underfit: 3 } as const
const RANKS = [32, 64] as const
const DROPOUTS = [0.05, 0.1, 0.2] as const
const LEARNING_RATES = [1e-4, 1.5e-4, 2e-4] as const
const PATIENCE = 3

const change = (field: string, verb: 'raise' | 'lower', from: number | string, to: number | string): string =>
  `${verb} ${field} from ${from} to ${to}`

/** The next of the values to try; nothing when the setting is there already. */
const raise = (field: string, from: number, to: readonly number[]): string[] => {
  const next = to.find((value) => value > from)
  return next === undefined ? [] : [change(field, 'raise', from, next)]
}

/** What helps against a failure, most telling first. */
export function adviceFor(failure: Failure, settings: Settings): string[] {
  switch (failure) {
    case 'Overfitting':
      return trainLess(settings)
    case 'Underfitting':
      return trainMore(settings)
    case 'CopyCollapse':
      return [
        ...(settings.sample === 'Identity'
          ? [
              'set format.sample of the dataset from Identity to Denoise or Paired: with Identity copying is the optimum',
            ]
          : [
              `${settings.sample} does not reward copying: the run learnt too little to leave its inputs`,
              ...trainMore(settings),
            ]),
        `let releases ask for it: a gate {metric: copyRate, max: "${COPIES}"} keeps such a checkpoint from serving`,
      ]
  }
}

function trainLess({ best, newest, epochs, maxSteps, patience, dropout, trainExamples }: Settings): string[] {
  const advice: string[] = []
  if (best !== undefined && newest !== undefined && best < newest)
    advice.push(`release checkpoint-${best}, the best, not checkpoint-${newest}`)
  if (maxSteps > 0 && best !== undefined && best < maxSteps)
    advice.push(change('training.maxSteps', 'lower', maxSteps, best))
  if (maxSteps === 0 && epochs > 1)
    advice.push(change('training.epochs', 'lower', epochs, epochs > EPOCHS.initially ? EPOCHS.initially : 1))
  if (patience === 0) advice.push(change('earlyStopping.patience', 'raise', 0, PATIENCE))
  return [
    ...advice,
    ...raise('lora.dropout', dropout, DROPOUTS),
    `add text from more and other sources (now ${trainExamples} examples)`,
  ]
}

function trainMore({ epochs, maxSteps, stepsPerEpoch, rank, learningRate, trainExamples }: Settings): string[] {
  const advice: string[] = []
  if (maxSteps > 0) {
    const passes = [1, EPOCHS.underfit].find((each) => each * stepsPerEpoch > maxSteps)
    if (passes !== undefined)
      advice.push(
        `${change('training.maxSteps', 'raise', maxSteps, Math.ceil(passes * stepsPerEpoch))}, ${passes === 1 ? 'one pass' : `${passes} passes`} over the data`,
      )
  } else advice.push(...raise('training.epochs', epochs, [EPOCHS.initially, EPOCHS.underfit]))
  return [
    ...advice,
    ...raise('lora.rank', rank, RANKS),
    ...raise('training.learningRate', learningRate, LEARNING_RATES),
    `add more training text (now ${trainExamples} examples)`,
  ]
}

/** How the next run tells what this one leaves open; `had`: the texts that it had. */
export function moreTexts(
  open: readonly Pick<Found, 'wants'>[],
  had: Evidence['texts'],
  { samples, maxExamples, maxTokens, trainPercent }: Settings,
): string[] {
  const most = (...kinds: (keyof Evidence['texts'])[]): number =>
    Math.max(0, ...open.map(({ wants }) => (wants && kinds.includes(wants.of) ? (wants.texts ?? 0) : 0)))
  const [written, heldOut] = [most('written', 'begun'), most('heldOut')]
  const advice: string[] = []
  if (written > samples) advice.push(change('evaluation.samples', 'raise', samples, written))
  if (heldOut > maxExamples) advice.push(change('evaluation.maxExamples', 'raise', maxExamples, heldOut))
  // As many as were asked for were not there, or did not fit the label tokens of an evaluation.
  if (most('written') > 0 && had.written < samples)
    advice.push(
      `${change('split.trainPercent of the dataset', 'lower', trainPercent, Math.floor(trainPercent * 0.95))}: only ${had.written} held-out texts could be written for`,
    )
  if (heldOut > 0 && had.heldOut < maxExamples)
    advice.push(
      `${change('evaluation.maxTokens', 'raise', maxTokens, Math.ceil((maxTokens * heldOut) / had.heldOut))}, or hold out more text`,
    )
  return advice
}
