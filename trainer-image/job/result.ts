import { writeFile } from 'node:fs/promises'
import { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'
import type { SourceResult } from '#proto/humanizer/trainer/v1/preparation.ts'
import { type Checkpoint, EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'

/** The kubelet keeps this many bytes of a termination message. */
export const terminationBytes = 4096

const bytesOf = (result: JobResult): number => Buffer.byteLength(JSON.stringify(JobResult.toJSON(result)))

/** At most `bytes` of UTF-8, cut between characters, with "…" where something was left out. */
export function shorten(text: string, bytes: number): string {
  if (Buffer.byteLength(text) <= bytes) return text
  let kept = ''
  let size = Buffer.byteLength('…')
  for (const character of text) {
    size += Buffer.byteLength(character)
    if (size > bytes) break
    kept += character
  }
  return `${kept}…`
}

type Shortening = (result: JobResult) => JobResult

const withRun = (result: JobResult, change: (run: NonNullable<JobResult['run']>) => object): JobResult =>
  result.run === undefined ? result : { ...result, run: { ...result.run, ...change(result.run) } }

const withPreparation = (
  result: JobResult,
  change: (preparation: NonNullable<JobResult['preparation']>) => object,
): JobResult =>
  result.preparation === undefined
    ? result
    : { ...result, preparation: { ...result.preparation, ...change(result.preparation) } }

/** The report has all of them; names and licences stay longest, for the checklist of a run asks for every one. */
const withSources = (result: JobResult, change: (source: SourceResult) => SourceResult): JobResult =>
  withPreparation(result, ({ sources }) => ({ sources: sources.map(change) }))

const withCheckpoints = (result: JobResult, change: (checkpoint: Checkpoint) => object): JobResult =>
  withRun(result, ({ checkpoints }) => ({
    checkpoints: checkpoints.map((checkpoint) => ({ ...checkpoint, ...change(checkpoint) })),
  }))

/** Name and path say nothing that owner and step do not say, when they are the usual ones. */
function derivable({ ownerUid }: JobResult, { name, path, step }: Checkpoint): object {
  const usual = `checkpoint-${step}`
  return { ...(name === usual && { name: '' }), ...(path.endsWith(`/${ownerUid}/${usual}`) && { path: '' }) }
}

/** Six decimals of everything measured, as status has them. */
const rounded = (checkpoint: Checkpoint): object => ({
  evaluation: checkpoint.evaluation && roundedResult(checkpoint.evaluation),
})
const roundedResult = (result: EvaluationResult): EvaluationResult =>
  EvaluationResult.fromJSON(
    JSON.parse(JSON.stringify(EvaluationResult.toJSON(result)), (_, value) =>
      typeof value === 'number' ? Number(value.toFixed(6)) : value,
    ),
  )

const lossOnly = ({ evaluation }: Checkpoint): object => ({
  evaluation:
    evaluation && EvaluationResult.fromPartial({ loss: evaluation.loss && Number(evaluation.loss.toFixed(6)) }),
})

const withBaseline = (result: JobResult, change: (baseline: EvaluationResult) => object): JobResult =>
  withRun(result, ({ baseline }) => ({ baseline: baseline && { ...baseline, ...change(baseline) } }))

/** Metrics to four decimals, intervals outward: never narrower than what was measured. */
const coarse = ({ metrics }: EvaluationResult): object => {
  const to = (round: (value: number) => number, value: number) => round(value * 1e4) / 1e4
  return {
    metrics: metrics.map(({ name, value, low, high }) => ({
      name,
      value: to(Math.round, value),
      low: low === undefined ? low : to(Math.floor, low),
      high: high === undefined ? high : to(Math.ceil, high),
    })),
  }
}
/** Values of metrics without their intervals. */
const valuesOnly = ({ metrics }: EvaluationResult): object => ({
  metrics: metrics.map(({ name, value }) => ({ name, value, low: undefined, high: undefined })),
})
const withEvaluation = (
  { evaluation }: Checkpoint,
  change: (evaluation: EvaluationResult) => object,
): { evaluation: EvaluationResult | undefined } => ({
  evaluation: evaluation && { ...evaluation, ...change(evaluation) },
})

/** What a gate may ask for: of the best and the newest checkpoint. */
const isRead = (run: NonNullable<JobResult['run']>, { best, step }: Checkpoint): boolean =>
  best || step === run.checkpoints.at(-1)?.step

/** In the order in which they are given up: what the operator can find elsewhere first, digests last. */
const shortenings: readonly Shortening[] = [
  (result) => withRun(result, ({ progress }) => ({ progress: progress && { ...progress, gpu: undefined } })),
  (result) => withCheckpoints(result, (checkpoint) => derivable(result, checkpoint)),
  (result) => withCheckpoints(result, rounded),
  (result) => withRun(result, ({ baseline }) => ({ baseline: baseline && roundedResult(baseline) })),
  (result) =>
    withRun(result, (run) => ({ warnings: run.warnings.slice(0, 8).map((warning) => shorten(warning, 160)) })),
  (result) => withPreparation(result, (preparation) => ({ summary: shorten(preparation.summary, 400) })),
  (result) => ({ ...result, message: shorten(result.message, 1024) }),
  (result) => withSources(result, (source) => ({ ...source, counts: undefined })),
  (result) => withSources(result, (source) => ({ ...source, revision: '' })),
  (result) => withCheckpoints(result, (checkpoint) => (isRead(result.run!, checkpoint) ? {} : lossOnly(checkpoint))),
  (result) =>
    withRun(result, ({ diagnosis }) => ({
      diagnosis: diagnosis && {
        ...diagnosis,
        findings: diagnosis.findings.slice(0, 3).map((each) => ({ ...each, evidence: shorten(each.evidence, 200) })),
      },
    })),
  (result) => withCheckpoints(withBaseline(result, coarse), (checkpoint) => withEvaluation(checkpoint, coarse)),
  (result) => withBaseline(result, valuesOnly),
  (result) => withCheckpoints(result, (checkpoint) => (checkpoint.best ? {} : withEvaluation(checkpoint, valuesOnly))),
  (result) => withCheckpoints(result, (checkpoint) => withEvaluation(checkpoint, valuesOnly)),
  (result) => withBaseline(result, () => ({ metrics: [] })),
  (result) => withCheckpoints(result, (checkpoint) => (checkpoint.best ? {} : lossOnly(checkpoint))),
  (result) => withRun(result, () => ({ warnings: [] })),
  (result) => withRun(result, ({ diagnosis }) => ({ diagnosis: diagnosis && { ...diagnosis, advice: [] } })),
  (result) => ({ ...result, message: shorten(result.message, 256) }),
  (result) => withCheckpoints(result, lossOnly),
  (result) =>
    withRun(result, (run) => ({
      checkpoints: run.checkpoints.filter((each, index) => each.best || index >= run.checkpoints.length - 3),
    })),
  (result) =>
    withRun(result, (run) => ({
      checkpoints: run.checkpoints.filter((each, index) => each.best || index === run.checkpoints.length - 1),
    })),
  (result) => withPreparation(result, (preparation) => ({ sources: [], summary: shorten(preparation.summary, 160) })),
]

/** The result within `limit` bytes of JSON: facts that stand elsewhere too are dropped step by step until it fits. */
export function fitResult(result: JobResult, limit: number = terminationBytes): JobResult {
  let fitted = result
  for (const shortening of shortenings) {
    if (bytesOf(fitted) <= limit) return fitted
    fitted = shortening(fitted)
  }
  if (bytesOf(fitted) <= limit) return fitted
  const { ownerUid, attempt, reason, message } = fitted
  return JobResult.fromPartial({ ownerUid, attempt, reason, message })
}

/** Not by rename: the kubelet has this very file bound into the container. */
export async function writeTerminationMessage(path: string, result: JobResult): Promise<void> {
  await writeFile(path, JSON.stringify(JobResult.toJSON(fitResult(result))))
}
