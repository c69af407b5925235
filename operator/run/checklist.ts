import { type ChecklistItem, checked, open } from '../api/checklist.ts'
import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { decidedAbout, releaseItems } from '../release/checklist.ts'
import type { Status } from './decide.ts'

/** What others say of a run: its dataset and the releases of its namespace, as far as they are there. */
export interface Others {
  readonly dataset: HumanizerDataset | undefined
  readonly releases: readonly AdapterRelease[]
}

const ofDatasets = ['DataLicensesVerified', 'SplitCreated', 'DedupReportReviewed'] as const

/** What a run's dataset answers for, as it is when the run pins it: later changes of the dataset are of another digest. */
export function datasetItems({
  spec,
  status,
}: {
  readonly spec: Pick<HumanizerDataset['spec'], 'sources'>
  readonly status?: HumanizerDataset['status']
}): ChecklistItem[] {
  // A result that was too long for a termination message leaves sources out.
  const licenses = spec.sources.map(({ name }) => {
    const found = status?.sources?.find((source) => source.name === name)
    return { name, license: found?.license, words: found ? found.license || 'undeclared' : 'not in status' }
  })
  const { train = 0, validation = 0 } = status?.counts ?? {}
  return [
    checked(
      'DataLicensesVerified',
      licenses.every(({ license }) => Boolean(license)),
      licenses.map(({ name, words }) => `${name}: ${words}`).join(', '),
    ),
    checked('SplitCreated', train > 0 && validation > 0, `${train} texts to train on, ${validation} held out`),
    open(
      'DedupReportReviewed',
      `spec.review.approvedDigest of the dataset is not its digest; the report is ${status?.location ?? ''}/report.md on the claim`,
    ),
  ]
}

/** An approval counts whenever it comes, and stays when the dataset has gone on to another digest. */
function dedupReview(before: ChecklistItem, { datasetDigest }: Status, { dataset }: Others): ChecklistItem {
  const { approvedDigest, approvedBy } = dataset?.spec.review ?? {}
  if (before.done || datasetDigest === undefined || approvedDigest !== datasetDigest) return before
  const who = approvedBy ? ` by ${approvedBy}` : ''
  return checked(
    'DedupReportReviewed',
    true,
    `${datasetDigest} was approved${who}: spec.review of dataset ${dataset?.metadata.name}`,
  )
}

/** Whether a change of an AdapterRelease may change a run's checklist. */
export function isReleaseOf({ status }: QLoRARun, release: AdapterRelease): boolean {
  const digests = new Set(decidedAbout(release))
  return status?.checkpoints?.some(({ digest }) => digests.has(digest)) ?? false
}

/**
 * The experiment checklist of a started run: each item with what shows it, done only when that is there. What the dataset answers for
 * stands in `status` since the start.
 */
export function checklistOf({ spec, status: before }: QLoRARun, status: Status, others: Others): ChecklistItem[] {
  const ofDataset = new Map(status.checklist?.map((each) => [each.item, each]))
  const pinned = ofDatasets.map((item) => ofDataset.get(item) ?? open(item, 'not recorded when the run started'))
  const best = status.checkpoints?.find(({ best }) => best)
  const digests = new Set(status.checkpoints?.map(({ digest }) => digest))
  // The checkpoints of an ended run are final: what was decided about them was, also when the release is gone.
  const final = before?.completionTime !== undefined && before.completionTime === status.completionTime
  const decided = new Map(final ? before.checklist?.flatMap((each) => (each.done ? [[each.item, each]] : [])) : [])
  const figures = best?.metrics?.filter(({ name }) => outputFigures.has(name)) ?? []
  return [
    checked('ObjectiveDefined', Boolean(spec.objective), spec.objective || 'spec.objective is empty'),
    ...pinned.map((each) => (each.item === 'DedupReportReviewed' ? dedupReview(each, status, others) : each)),
    checked(
      'BaselineCaptured',
      status.baseline?.loss !== undefined,
      status.baseline?.loss === undefined
        ? 'the base was not measured'
        : `held-out loss ${status.baseline.loss} of the base`,
    ),
    checked(
      'ConfigurationDocumented',
      status.configDigest !== undefined && status.progress !== undefined && status.progress.totalSteps > 0,
      status.configDigest ? `run_config.json of the run's folder, ${status.configDigest}` : 'nothing is pinned yet',
    ),
    checked(
      'AdapterVerified',
      figures.length > 0,
      best
        ? `${best.name} ${best.digest}${figures.length > 0 ? ', read back from its sealed files' : ''}`
        : 'no best checkpoint',
    ),
    checked(
      'EvaluatedAfterTraining',
      figures.length > 0,
      figures.length > 0 ? `${figures.length} figures of what ${best!.name} writes` : 'no outputs were measured',
    ),
    ...releaseItems(digests, others.releases).map((each) => (each.done ? each : (decided.get(each.item) ?? each))),
  ]
}

/** Figures that only an adapter that was read back and wrote texts has. */
const outputFigures: ReadonlySet<string> = new Set(['distinct2', 'lengthRatio', 'copyRate', 'rougeL', 'wordOverlap'])
