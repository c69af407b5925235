/** The experiment checklist of runs and releases: each item done only when its evidence is there. */

/** In the order of the work. */
export const checklistItems = [
  'ObjectiveDefined',
  'DataLicensesVerified',
  'SplitCreated',
  'DedupReportReviewed',
  'BaselineCaptured',
  'ConfigurationDocumented',
  'AdapterVerified',
  'EvaluatedAfterTraining',
  'SamplesReviewed',
  'DeploymentDecided',
  'RollbackTested',
] as const
export type ChecklistName = (typeof checklistItems)[number]

export interface ChecklistItem {
  item: string
  done: boolean
  /** What shows it, or what is missing. */
  evidence: string
}

const EVIDENCE_CHARACTERS = 512

export const checked = (item: ChecklistName, done: boolean, evidence: string): ChecklistItem => ({
  item,
  done,
  evidence: evidence.slice(0, EVIDENCE_CHARACTERS),
})
export const open = (item: ChecklistName, evidence: string): ChecklistItem => checked(item, false, evidence)
