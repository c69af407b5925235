import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { Status } from './decide.ts'

export type ChecklistItem = NonNullable<Status['checklist']>[number]

const EVIDENCE_CHARACTERS = 512
const item = (name: string, done: boolean, evidence: string): ChecklistItem => ({
  item: name,
  done,
  evidence: evidence.slice(0, EVIDENCE_CHARACTERS),
})
const open = (name: string, evidence: string): ChecklistItem => item(name, false, evidence)

/** What a run's dataset answers for, as it is when the run pins it: later changes of the dataset are of another digest. */
export function datasetItems({ status }: Pick<HumanizerDataset, 'status'>): ChecklistItem[] {
  const licenses = status?.sources?.map(({ name, license }) => ({ name, license }))
  const { train = 0, validation = 0 } = status?.counts ?? {}
  return [
    item(
      'DataLicensesVerified',
      licenses !== undefined && licenses.length > 0 && licenses.every(({ license }) => Boolean(license)),
      licenses?.map(({ name, license }) => `${name}: ${license || 'undeclared'}`).join(', ') ??
        'the dataset names no sources',
    ),
    item('SplitCreated', train > 0 && validation > 0, `${train} texts to train on, ${validation} held out`),
    open(
      'DedupReportReviewed',
      `no review is recorded; the report is ${status?.location ?? ''}/report.md on the claim`,
    ),
  ]
}

/**
 * The experiment checklist of a started run: each item with what shows it, done only when that is there. What the dataset answers for
 * stands in `status` since the start.
 */
export function checklistOf({ spec }: QLoRARun, status: Status): ChecklistItem[] {
  const ofDataset = new Map(status.checklist?.map((each) => [each.item, each]))
  const pinned = datasetItems({}).map(
    ({ item }) => ofDataset.get(item) ?? open(item, 'not recorded when the run started'),
  )
  const best = status.checkpoints?.find(({ best }) => best)
  const figures = best?.metrics?.filter(({ name }) => outputFigures.has(name)) ?? []
  return [
    item('ObjectiveDefined', Boolean(spec.objective), spec.objective || 'spec.objective is empty'),
    ...pinned,
    item(
      'BaselineCaptured',
      status.baseline?.loss !== undefined,
      status.baseline?.loss === undefined
        ? 'the base was not measured'
        : `held-out loss ${status.baseline.loss} of the base`,
    ),
    item(
      'ConfigurationDocumented',
      status.configDigest !== undefined && status.progress !== undefined && status.progress.totalSteps > 0,
      status.configDigest ? `run_config.json of the run's folder, ${status.configDigest}` : 'nothing is pinned yet',
    ),
    item(
      'AdapterVerified',
      figures.length > 0,
      best
        ? `${best.name} ${best.digest}${figures.length > 0 ? ', read back from its sealed files' : ''}`
        : 'no best checkpoint',
    ),
    item(
      'EvaluatedAfterTraining',
      figures.length > 0,
      figures.length > 0 ? `${figures.length} figures of what ${best!.name} writes` : 'no outputs were measured',
    ),
    open('SamplesReviewed', 'a person reads report.html; an AdapterRelease records the approval'),
    open('DeploymentDecided', 'an AdapterRelease names the run or its digest'),
    open('RollbackTested', 'an AdapterRelease switches back'),
  ]
}

/** Figures that only an adapter that was read back and wrote texts has. */
const outputFigures: ReadonlySet<string> = new Set(['distinct2', 'lengthRatio', 'copyRate', 'rougeL', 'wordOverlap'])
