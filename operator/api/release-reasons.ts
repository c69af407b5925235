/** Why an AdapterRelease is in the condition it is in. The words users see in `kubectl describe adapterrelease`. */
export const ReleaseReason = {
  /** Every serving pod answers with what spec.source asks for. */
  Serving: 'Serving',

  // Reconciling: on its way, or waiting for something that can still come.
  /** The run that spec.source names does not exist yet. */
  RunNotFound: 'RunNotFound',
  /** The run has not ended yet; Best and Latest are resolved when it has succeeded. */
  RunNotFinished: 'RunNotFinished',
  /** The claim of spec.storage, or that of the base model, does not exist yet. */
  ClaimNotFound: 'ClaimNotFound',
  /** Pods are loading the candidate beside what serves. */
  Switching: 'Switching',
  /** A rollback drill is under way: what served before answers for a moment, and what is asked for comes back. */
  Drilling: 'Drilling',
  /** spec.form is Merged: a Job writes the candidate into its base's weights; status.merge has the attempt. */
  Merging: 'Merging',
  /** The candidate answers a share of the requests, by a step of spec.strategy. */
  Stepping: 'Stepping',
  /** Serving pods are being started or replaced. */
  PodsStarting: 'PodsStarting',
  /** No node has room for the serving pods; what served before keeps serving. */
  NoCapacity: 'NoCapacity',
  /** A pod says it has loaded something else than it was told to. It is never counted as serving the right thing. */
  PodsDisagree: 'PodsDisagree',
  /** An object of somebody else has the name of one that is to be made. */
  NameConflict: 'NameConflict',
  /** The API server refused one of the release's objects or pods: quota, admission or missing rights. Tried again. */
  Forbidden: 'Forbidden',
  /** The promoted adapter or the base model is not on the claim any more; the pods look for it again. A candidate without its files is Stalled. */
  ArtifactMissing: 'ArtifactMissing',

  // Reconciling, and held for a person: Argo CD shows Suspended.
  /** Evidence that an enforced gate needs is missing or of another dataset, or its interval holds the limit. */
  GateInconclusive: 'GateInconclusive',
  /** spec.review.required: the candidate passed its gates and waits for its digest to be approved. */
  ReviewPending: 'ReviewPending',
  /** spec.dryRun: the candidate passed and would serve without it. */
  DryRun: 'DryRun',
  /** Evidence that an enforced gate needs could not be measured or read. Tried again. */
  GateError: 'GateError',

  // Stalled: the spec, or the run it names, must change.
  /** The run failed, so Best and Latest mean nothing. */
  RunFailed: 'RunFailed',
  /** The finished run has no checkpoint of this name. */
  CheckpointNotFound: 'CheckpointNotFound',
  /** Neither a release nor a run of the namespace knows the digest. */
  DigestUnknown: 'DigestUnknown',
  /** spec.source.base on a release that never served anything: there is no telling which base model is meant. */
  BaseUnknown: 'BaseUnknown',
  /** The claim can be used by one pod only: Stalled. Or by the pods of one node only, which has no room: then Reconciling. */
  StorageNotShared: 'StorageNotShared',
  /** The run, or the release that served the digest, has its files on another claim. */
  StorageMismatch: 'StorageMismatch',
  /** The API server refused one of the release's objects as malformed: spec.pod must change. */
  PodInvalid: 'PodInvalid',
  /** Measured and bad: an enforced gate refused the candidate. */
  GateFailed: 'GateFailed',
  /** The candidate cannot be written into its base's weights, or what came of it computes something else. */
  MergeFailed: 'MergeFailed',
  /** spec.review.rejectedDigest is the candidate's. */
  Rejected: 'Rejected',
  /** Nobody approved or rejected the candidate within spec.review.deadlineSeconds. */
  ReviewExpired: 'ReviewExpired',
  /** It served, regressed and was taken back by itself; status.verdict says why. Until the spec changes. */
  RolledBack: 'RolledBack',
  /** It serves and regressed; spec.rollback.mode is Manual. */
  Regressed: 'Regressed',
  /** A pod restarted more often than spec.rollback.maxRestarts since it was given the adapter. */
  CrashLooping: 'CrashLooping',
  /** More requests failed than spec.rollback.maxErrorPercent allows. */
  TooManyErrors: 'TooManyErrors',
  /** First tokens came later than spec.rollback.maxFirstTokenSeconds allows. */
  TooSlow: 'TooSlow',
  /** A serving pod could not load the candidate; or cannot load what is active, and tries again: then Reconciling. */
  LoadFailed: 'LoadFailed',
  /** A serving pod computes another loss on the adapter's canary set than was sealed with it. */
  CanaryFailed: 'CanaryFailed',

  // Of the condition Pushed.
  /** It is where spec.push says; the message is what to pull. */
  Pushed: 'Pushed',
  /** A Job sends it, or is about to. */
  Pushing: 'Pushing',
  /** The last attempts failed; tried again, after a growing wait. */
  PushFailed: 'PushFailed',

  // Events only, of a rollback drill (status.drill).
  /** It went there and back and lost no request. */
  DrillPassed: 'DrillPassed',
  /** A request was lost, a pod could not follow, or the spec changed meanwhile; what serves came back. */
  DrillFailed: 'DrillFailed',
  /** There was nothing to drill, or not now; nothing was done. */
  DrillRefused: 'DrillRefused',
} as const
export type ReleaseReason = (typeof ReleaseReason)[keyof typeof ReleaseReason]

/** Condition of releases only: True while requests are answered, by the active adapter, whatever spec.source asks for. */
export const ServingCondition = 'Serving'
/** Condition of releases with spec.push only: whether what serves has been pushed. Serving never depends on it. */
export const PushedCondition = 'Pushed'
