/**
 * The conditions of the three kinds: words that users see in `kubectl describe` and wait for. Each kind's reasons stand
 * in dataset-reasons.ts, run-reasons.ts and release-reasons.ts.
 */
export const ConditionType = {
  /** The object is what its spec asks for: a dataset is prepared, a run has succeeded, a release serves. Derived by readyFrom, never set. */
  Ready: 'Ready',
  /** On its way, or waiting for something that can still come by itself. Stands only while true. */
  Reconciling: 'Reconciling',
  /** Nothing that is watched can help: change the spec. Stands only while true. */
  Stalled: 'Stalled',
  /** Runs only. Unknown until the run has ended, then True or False for good. */
  Succeeded: 'Succeeded',
  /** Runs only. False, naming the figures, while the trainer reports one that is not finite and that status therefore lacks. Stands only then. */
  Finite: 'Finite',
  /** Runs only. Whether the tracking server of spec.logging gets the figures; False takes nothing from the run. Stands once it was asked. */
  Tracked: 'Tracked',
  /** Runs only. What became of it; its reason is the verdict of the diagnosis. Stands once the run is diagnosed. */
  Healthy: 'Healthy',
} as const
export type ConditionType = (typeof ConditionType)[keyof typeof ConditionType]
