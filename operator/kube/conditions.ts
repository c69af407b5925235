/** metav1.Condition. */
export interface Condition {
  type: string
  status: 'True' | 'False' | 'Unknown'
  reason: string
  message: string
  /** metadata.generation that this condition was computed from. */
  observedGeneration: number
  /** RFC 3339, whole seconds. Moves only when status flips. */
  lastTransitionTime: string
}

type Observation = Omit<Condition, 'lastTransitionTime'>

/** metav1.Time as the API server prints it: whole seconds. */
export const kubeTime = (at: Date): string => at.toISOString().replace(/\.\d+Z$/, 'Z')

export function findCondition(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type)
}

/** Most characters of a condition's message in any of our CRDs. */
const MESSAGE_CHARACTERS = 4096

/** The list with this condition in it, its message cut to fit; the others and their order are kept. lastTransitionTime moves only when status flips. */
export function setCondition(
  conditions: readonly Condition[] | undefined,
  { type, status, reason, message, observedGeneration }: Observation,
  now: Date,
): Condition[] {
  const before = findCondition(conditions, type)
  const lastTransitionTime = before?.status === status ? before.lastTransitionTime : kubeTime(now)
  const next: Condition = {
    ...{ type, status, reason, message: message.slice(0, MESSAGE_CHARACTERS) },
    ...{ observedGeneration, lastTransitionTime },
  }
  if (!before) return [...(conditions ?? []), next]
  return (conditions ?? []).map((condition) => (condition.type === type ? next : condition))
}

export function removeCondition(conditions: readonly Condition[] | undefined, type: string): Condition[] {
  return (conditions ?? []).filter((condition) => condition.type !== type)
}

/**
 * The state of an object in kstatus' terms.
 * - ready: done, nothing to do until something changes.
 * - reconciling: on its way, or waiting for something that Kubernetes or a person can still bring (a Secret, quota, storage).
 * - stalled: nothing that we watch can help; a person must change the spec.
 */
export interface Summary {
  readonly state: 'ready' | 'reconciling' | 'stalled'
  readonly reason: string
  readonly message: string
}

/**
 * Ready is derived here and nowhere else. Ready always stands; Reconciling and Stalled stand only while true, so that
 * kstatus (kubectl wait, Argo CD, Flux) reads the object without help. Conditions of other types are kept.
 */
export function readyFrom(
  conditions: readonly Condition[] | undefined,
  { state, reason, message }: Summary,
  observedGeneration: number,
  now: Date,
): Condition[] {
  const says = { reason, message, observedGeneration }
  let next = setCondition(conditions, { type: 'Ready', status: state === 'ready' ? 'True' : 'False', ...says }, now)
  next =
    state === 'reconciling'
      ? setCondition(next, { type: 'Reconciling', status: 'True', ...says }, now)
      : removeCondition(next, 'Reconciling')
  return state === 'stalled'
    ? setCondition(next, { type: 'Stalled', status: 'True', ...says }, now)
    : removeCondition(next, 'Stalled')
}
