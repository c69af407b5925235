import type { DesiredAdapter, ServingHealth, ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import type { Totals } from './health.ts'

/**
 *   desired n ── want n, same digest ──────────────▶ nothing          (or load again, if it failed)
 *             ── want n, other digest, or m < n ───▶ refuse           the old adapter keeps serving
 *             ── want m > n, digest is served ─────▶ adopt            only the generation moves
 *             ── want m > n, other digest ─────────▶ load ── proved ─▶ served m
 *                                                         └─ failed ─▶ failure m, served stays as it was
 */
export interface SwitchState {
  /** The highest generation ever accepted; undefined before the first. */
  readonly desired: DesiredAdapter | undefined
  /** What answers requests now; undefined until something was proved in this pod. */
  readonly served: Served | undefined
  /** Why `desired` does not serve. */
  readonly failure: { readonly generation: number; readonly message: string } | undefined
}

export interface Served {
  readonly desired: DesiredAdapter
  /** When its digest finished loading in this process. */
  readonly loadedTime: Date
}

/** Before anything is known. */
export const initialSwitchState: SwitchState = { desired: undefined, served: undefined, failure: undefined }

export type Verdict =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'adopt' }
  | { readonly kind: 'load' }
  | { readonly kind: 'refuse'; readonly message: string }

/** What to do when `wanted` is asked for. Any generation may come first; 0 and less never. */
export function decide(state: SwitchState, wanted: DesiredAdapter): Verdict {
  if (!Number.isSafeInteger(wanted.generation) || wanted.generation < 1) {
    return { kind: 'refuse', message: `generation is ${wanted.generation}, expected a positive integer` }
  }
  const { desired, served } = state
  if (desired && wanted.generation < desired.generation) {
    return {
      kind: 'refuse',
      message: `generation ${wanted.generation} is older than ${desired.generation}, which this pod was already given`,
    }
  }
  if (desired && wanted.generation === desired.generation && wanted.digest !== desired.digest) {
    return {
      kind: 'refuse',
      message: `generation ${wanted.generation} already stands for ${nameDigest(desired.digest)}, not for ${nameDigest(wanted.digest)}`,
    }
  }
  if (served?.desired.digest !== wanted.digest) return { kind: 'load' }
  return served.desired.generation === wanted.generation ? { kind: 'nothing' } : { kind: 'adopt' }
}

/** `wanted` was accepted: it is what this pod works towards, and is never gone back from. While it is tried again it has still failed. */
export function accept(state: SwitchState, wanted: DesiredAdapter): SwitchState {
  const { failure } = state
  return { ...state, desired: wanted, failure: failure?.generation === wanted.generation ? failure : undefined }
}

/** `desired` was proved and answers from now on. */
export function flip(state: SwitchState, served: Served): SwitchState {
  return { ...state, served, failure: undefined }
}

/** `desired` could not be loaded; what served before serves on. */
export function fail(state: SwitchState, message: string): SwitchState {
  return { ...state, failure: { generation: state.desired?.generation ?? 0, message } }
}

/** True when what answers is what is desired. */
export function converged(state: SwitchState): boolean {
  return state.served !== undefined && state.served.desired.generation === state.desired?.generation
}

/** The wire form; `requests` counts those running on the served digest and on earlier ones, `health` is the served one's, `totals` everybody's. */
export function servingState(
  state: SwitchState,
  podUid: string,
  requests: { readonly active: number; readonly draining: number },
  health: ServingHealth | undefined,
  totals: Totals,
): ServingState {
  return {
    digest: state.served?.desired.digest ?? '',
    generation: state.served?.desired.generation ?? 0,
    loadedTime: state.served?.loadedTime.toISOString() ?? '',
    podUid,
    activeRequests: requests.active,
    drainingRequests: requests.draining,
    failure: state.failure?.message ?? '',
    failedGeneration: state.failure?.generation ?? 0,
    health,
    answeredRequests: totals.answered,
    lostRequests: totals.lost,
  }
}

/** How answers and headers name a digest: the empty one is the untouched base. */
export function nameDigest(digest: string): string {
  return digest === '' ? 'base' : digest
}
