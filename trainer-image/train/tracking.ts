import { join } from 'node:path'
import type { ReviewedSample } from '../evaluate/report.ts'
import type { Attempt } from './attempt.ts'
import type { SealedCheckpoint } from './checkpoint.ts'
import type { Session } from './session.ts'
import { noTracker, openTracker, type TrackedResult, type Tracker } from './wandb.ts'
import { trackingFolder } from './wandb-pending.ts'

/** The tracking server that the configuration names, told as this run; the same run for every attempt. */
export async function trackerOf(
  { live, runDirectory, context }: Attempt,
  { config }: Pick<Session, 'config'>,
): Promise<Tracker> {
  const settings = config.logging.weightsAndBiases
  if (settings === undefined) return noTracker
  const { namespace, name, uid } = config.owner
  return openTracker({
    settings,
    run: {
      name: uid,
      displayName: `${namespace}/${name}`,
      groupName: namespace,
      jobType: 'train',
      notes: config.objective,
      config: JSON.stringify(configurationOf(config)),
    },
    directory: join(runDirectory, trackingFolder),
    log: context.log,
    report: (tracking) => live.update({ tracking }),
  })
}

/** As the SDK writes it: every top-level key holds its value. */
function configurationOf(config: Session['config']): object {
  const { model, datasetDigest, configDigest, quantization, lora, training, evaluation, earlyStopping } = config
  const values = { model, datasetDigest, configDigest, quantization, lora, training, evaluation, earlyStopping }
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, { value }]))
}

/** What a finished run leaves at the tracking server. */
export function trackedResult(
  { live, runDirectory }: Attempt,
  best: SealedCheckpoint | undefined,
  samples: readonly ReviewedSample[],
): TrackedResult {
  const { diagnosis, baseline } = live.report
  const { evaluation } = best ?? {}
  const figures = (evaluation?.metrics ?? []).map(({ name, value }) => [`best/${name}`, value] as const)
  return {
    summary: {
      ...Object.fromEntries(figures),
      ...(baseline?.loss !== undefined && { 'baseline/loss': baseline.loss }),
      ...(evaluation?.loss !== undefined && { 'best/loss': evaluation.loss }),
      ...(best && { 'best/checkpoint': best.name, 'best/digest': best.digest }),
      ...(diagnosis && { diagnosis: diagnosis.verdict }),
    },
    table: {
      columns: ['id', 'input', 'human', 'base', 'best'],
      data: samples.map(({ id, input, human, base, best }) => [id, input, human ?? null, base ?? null, best ?? null]),
    },
    files: {
      'report.html': join(runDirectory, 'report.html'),
      'samples.jsonl': join(runDirectory, 'samples.jsonl'),
    },
  }
}
