import { WorkloadReason } from './workload-reasons.ts'

/** Why a run is in the condition it is in. Reasons of failed Jobs (job_result.proto) stand beside these. */
export const RunReason = {
  ...WorkloadReason,
  /** spec.datasetRef names no dataset of this namespace. */
  DatasetNotFound: 'DatasetNotFound',
  /** The dataset is not prepared yet, or its spec has changed since. */
  DatasetNotReady: 'DatasetNotReady',
  /** The dataset asks for a review, and its digest is not the approved one. */
  DatasetNotApproved: 'DatasetNotApproved',
  /** The dataset lies on another claim than the run's. */
  StorageMismatch: 'StorageMismatch',
  /** Dataset and configuration are pinned. */
  Started: 'Started',
  /** The base model is being brought into the claim. */
  Fetching: 'Fetching',
  /** The trainer reads, packs and loads. */
  Preparing: 'Preparing',
  /** The untouched base is measured. */
  MeasuringBaseline: 'MeasuringBaseline',
  /** Optimizer steps are made. */
  Training: 'Training',
  /** All steps are made; the best and the newest checkpoint write samples. */
  Evaluating: 'Evaluating',
  /** spec.suspend: a checkpoint is sealed and no pod runs. */
  Suspended: 'Suspended',
  /** An attempt failed; the next one comes by itself, after a while. */
  Retrying: 'Retrying',
  /** The trainer made no progress for spec.progressDeadlineSeconds. */
  ProgressDeadlineExceeded: 'ProgressDeadlineExceeded',
  /** More failures than spec.maxRetries; the message has the last one. */
  RetriesExhausted: 'RetriesExhausted',
  /** The container was ended by the kernel or kubelet for its memory limit, even with the smaller plan. */
  ContainerOutOfMemory: 'ContainerOutOfMemory',
  /** The device's memory was not enough, even with the smaller plan. */
  DeviceOutOfMemory: 'DeviceOutOfMemory',
  /** Reason of the condition Finite: a loss or another figure is infinite or not a number. */
  NotFinite: 'NotFinite',
  /** Reasons of the condition Healthy, the verdicts of a diagnosis: outputs and losses are as they should be. */
  Healthy: 'Healthy',
  /** Held-out loss rises while training loss falls, or outputs repeat, swell or are memorised. */
  Overfitting: 'Overfitting',
  /** No real gain over the base. */
  Underfitting: 'Underfitting',
  /** Outputs are their inputs. */
  CopyCollapse: 'CopyCollapse',
  /** Evidence is missing, or too little to tell. */
  Unknown: 'Unknown',
  /** Finished; stays so for ever. */
  Succeeded: 'Succeeded',
} as const
export type RunReason = (typeof RunReason)[keyof typeof RunReason]
