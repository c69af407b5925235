import { WorkloadReason } from './workload-reasons.ts'

/** Why a dataset is in the condition it is in. Reasons of failed Jobs (job_result.proto) stand beside these. */
export const DatasetReason = {
  ...WorkloadReason,
  /** The rows of this spec are on the claim, sealed. */
  Prepared: 'Prepared',
  /** A configMap source names a ConfigMap or a key that is not there yet. */
  ConfigMapMissing: 'ConfigMapMissing',
  /** The Job reads, cleans, deduplicates and splits. */
  Preparing: 'Preparing',
  /** An attempt failed; the next one comes by itself, after a while. */
  Retrying: 'Retrying',
  /** The Job failed too often; the message has the last failure. A change of spec or of retryToken tries again. */
  RetriesExhausted: 'RetriesExhausted',
} as const
export type DatasetReason = (typeof DatasetReason)[keyof typeof DatasetReason]
