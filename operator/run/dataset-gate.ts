import type { ChecklistItem } from '../api/checklist.ts'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { RunReason } from '../api/run-reasons.ts'
import { findCondition } from '../kube/conditions.ts'
import { datasetItems } from './checklist.ts'

/** What a run keeps of its dataset when it starts. */
export interface PinnedDataset {
  /** "sha256:…". */
  readonly digest: string
  /** Relative to the root of the claim. */
  readonly location: string
  readonly format: NonNullable<NonNullable<HumanizerDataset['status']>['format']>
  /** What it answers for on the experiment checklist. */
  readonly checklist: readonly ChecklistItem[]
}

type Obstacle =
  | { readonly kind: 'wait'; readonly reason: RunReason; readonly message: string; readonly seconds: number }
  | { readonly kind: 'stall'; readonly reason: RunReason; readonly message: string }

/** Datasets are watched, so this is only a safety net. Seconds. */
const LOOK_AGAIN = 300

/** Why a run cannot start on `dataset` yet, or undefined when it can. */
export function datasetObstacle(run: QLoRARun, dataset: HumanizerDataset | undefined): Obstacle | undefined {
  const { name } = run.spec.datasetRef
  const waits = (reason: RunReason, message: string): Obstacle => ({
    kind: 'wait',
    reason,
    message,
    seconds: LOOK_AGAIN,
  })
  if (!dataset) return waits(RunReason.DatasetNotFound, `spec.datasetRef.name: there is no HumanizerDataset ${name}`)
  const { claimName } = dataset.spec.storage
  if (claimName !== run.spec.storage.claimName)
    return {
      kind: 'stall',
      reason: RunReason.StorageMismatch,
      message: `spec.storage.claimName is ${run.spec.storage.claimName}, but dataset ${name} lies on ${claimName}; both must be the same`,
    }
  const ready = findCondition(dataset.status?.conditions, 'Ready')
  const current = ready?.observedGeneration === dataset.metadata.generation
  const { digest } = dataset.status ?? {}
  if (ready?.status === 'True' && current && digest) {
    const { required, approvedDigest = 'none' } = dataset.spec.review
    if (!required || approvedDigest === digest) return undefined
    return waits(
      RunReason.DatasetNotApproved,
      `waiting for a person to read the report of HumanizerDataset ${name} in ${dataset.status?.location} and to set its spec.review.approvedDigest to ${digest}; it is ${approvedDigest}`,
    )
  }
  const why = ready && current ? `: ${ready.reason}: ${ready.message}` : ''
  return waits(RunReason.DatasetNotReady, `waiting for HumanizerDataset ${name}${why}`)
}

/** Of a dataset without an obstacle. */
export function pinnedFrom({ spec, status }: HumanizerDataset): PinnedDataset {
  return {
    digest: status?.digest ?? '',
    location: status?.location ?? '',
    format: status?.format ?? spec.format,
    checklist: datasetItems({ spec, ...(status && { status }) }),
  }
}
