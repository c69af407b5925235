/** The table that the demo ends with. */
import type { Checkpoint, Dataset, Run } from './follow.ts'
import { evaluated, limitSeconds, trainingSeconds, workOf } from './plan.ts'
import { elapsedSeconds } from './say.ts'
import type { Switched, Switches } from './switch.ts'
import { table } from './table.ts'

export interface Story {
  readonly dataset: Dataset
  readonly run: Run
  readonly best: Checkpoint
  /** Copies among the answers to the AI-written paragraph, in words. */
  readonly copies: string
  /** Seconds from the demo's start to the training pod's. */
  readonly secondsBeforeTraining: number
  readonly switches: Switches
  /** Whether the answers after the rollback are those from before. */
  readonly identical: boolean
}

const measured = (value: string | undefined, interval?: string): string =>
  value === undefined ? 'not measured' : `${value}${interval === undefined ? '' : ` ± ${interval}`}`

/** Of the pair: each text is drawn with both its losses, so the interval is that of the difference. */
function improvement({ metrics }: Checkpoint): string {
  const found = metrics?.find(({ name }) => name === 'improvement')
  if (found === undefined) return 'not measured'
  const { value, low, high } = found
  return low === undefined || high === undefined ? value : `${value}, 95 % interval ${low} to ${high} (paired)`
}

/** The verdict with a row for each finding, and what to try in the next run. */
function diagnosed({ status }: Run): (readonly string[])[] {
  const { verdict = 'none', findings = [], advice = [] } = status?.diagnosis ?? {}
  return [
    ['diagnosis', verdict],
    ...findings.map(({ evidence }) => ['', evidence]),
    ...advice.map((words) => ['  to try in the next run', words]),
  ]
}

const took = ({ lastOfEarlier, firstOfNew }: Switched): string =>
  `${firstOfNew.toFixed(2)} s from the change to the first answer of the new; ` +
  (lastOfEarlier === 0
    ? 'no request begun after the change got the earlier one'
    : `the last request that got the earlier one began after ${lastOfEarlier.toFixed(2)} s`)

export function summary({ dataset, run, best, copies, secondsBeforeTraining, switches, identical }: Story): string {
  const counts = dataset.status?.counts
  const baseline = run.status?.baseline
  const texts = evaluated(run, counts?.['validation'] ?? 0)
  return table(
    ['what', 'figure'],
    [
      ['paragraphs read', `${counts?.['read']}`],
      ['kept: train + validation', `${counts?.['train']} + ${counts?.['validation']}`],
      ['exact and near duplicates', `${counts?.['exactDuplicates']} and ${counts?.['nearDuplicates']}`],
      ['trained', workOf(dataset.spec.format.sample, run)],
      ['held-out loss', `nats per token over the same ${texts} texts; ± is a 95 % interval by bootstrap over them`],
      ['  base, unquantised', measured(baseline?.unquantizedLoss)],
      ['  base, NF4 (baseline)', measured(baseline?.loss, baseline?.lossInterval)],
      ...(run.status?.checkpoints ?? []).map(({ name, best, evalLoss, evalLossInterval }) => [
        `  ${name}${best ? ' (best)' : ''}`,
        measured(evalLoss, evalLossInterval),
      ]),
      ['  baseline minus best', improvement(best)],
      ...diagnosed(run),
      ['copies, AI-written paragraph', copies],
      ['speed of training', `${measured(run.status?.progress?.['tokensPerSecond'] as string | undefined)} tokens/s`],
      ['until training started', `${secondsBeforeTraining.toFixed(0)} s`],
      [
        'training, baseline included',
        `${trainingSeconds(run).toFixed(0)} s (at most ${limitSeconds} s on two AVX2 cores)`,
      ],
      ['switch to another checkpoint', took(switches.forward)],
      ['rollback', took(switches.back)],
      [
        'requests during both',
        `${switches.answered} answered, ${switches.lost.length} lost${switches.lost.length ? ` (${switches.lost[0]})` : ''}`,
      ],
      ['answers after the rollback', identical ? 'identical to those before' : 'DIFFERENT from those before'],
      ['everything', `${elapsedSeconds().toFixed(0)} s`],
    ],
  )
}
