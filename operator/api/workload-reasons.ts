/** Reasons that datasets and runs share: why a Job has not begun its work. */
export const WorkloadReason = {
  /** No node yet; the message has the scheduler's words. */
  Scheduling: 'Scheduling',
  /** The Job is held back by its queue (Kueue). */
  Queued: 'Queued',
  /** The pod has a node and starts there. */
  Starting: 'Starting',
  /** The image cannot be pulled; the message has the kubelet's words. */
  ImageUnavailable: 'ImageUnavailable',
  /** The container cannot be made; the message has the kubelet's words. */
  ContainerNotCreated: 'ContainerNotCreated',
  /** A volume is not mounted, and the pod needs a Secret: most likely that one is not there yet. */
  SecretMissing: 'SecretMissing',
  /** A volume is not mounted yet. */
  VolumeNotMounted: 'VolumeNotMounted',
  /** The pod was ended from outside; the work goes on in the next one. */
  Disrupted: 'Disrupted',
  /** The pods of an earlier attempt are still there, or the trainer seals a checkpoint and leaves. */
  Stopping: 'Stopping',
  /** The claim of spec.storage is not there, and it is not the default one, which would be made; or that of a source or base model. */
  ClaimNotFound: 'ClaimNotFound',
  /** The claim that results lie on is gone. It is never made anew: empty, it would only hide the loss. */
  ArtifactMissing: 'ArtifactMissing',
  /** The API server refused the claim that the chart's values describe as malformed. Tried again. */
  ClaimInvalid: 'ClaimInvalid',
  /** The claim cannot be mounted by more than one pod (ReadWriteOncePod): Stalled. Or by pods of one node only, which has no room: then Reconciling. */
  StorageNotShared: 'StorageNotShared',
  /** A Job or ConfigMap of that name exists and belongs to somebody else. */
  NameConflict: 'NameConflict',
  /** The API server refused a Job, ConfigMap or claim: quota or admission. Tried again. */
  Forbidden: 'Forbidden',
  /** What a pod told fits no field of the status; the message has the API server's words. Tried again. */
  StatusInvalid: 'StatusInvalid',
  /** The API server refused the Job as malformed: spec.pod must change. */
  PodInvalid: 'PodInvalid',
} as const
export type WorkloadReason = (typeof WorkloadReason)[keyof typeof WorkloadReason]
