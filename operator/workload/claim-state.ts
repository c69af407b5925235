import { WorkloadReason } from '../api/workload-reasons.ts'
import type { AttemptState } from './attempt-state.ts'
import { type ClaimState, defaultClaimName, sharingOf } from './claim.ts'
import type { ClaimUse } from './pod.ts'

type Wait = {
  readonly kind: 'wait'
  readonly reason: WorkloadReason
  readonly message: string
  readonly seconds: number
}
type Stall = {
  readonly kind: 'stall'
  readonly reason: WorkloadReason
  readonly message: string
  readonly seconds: number
}

/** Seconds after which a claim, which is not watched, is looked for again. */
const LOOK_AGAIN = 30
/** As LOOK_AGAIN, of one that must be made anew. */
export const LOOK_SELDOM = 300

/** How pods use the claim that `spec.storage` names, or why they cannot. */
export function claimUse(claim: ClaimState): { readonly kind: 'usable'; readonly claim: ClaimUse } | Stall {
  const sharing = sharingOf(claim)
  if (sharing !== 'onePod') return { kind: 'usable', claim: { name: claim.name, singleNode: sharing === 'oneNode' } }
  return {
    kind: 'stall',
    reason: WorkloadReason.StorageNotShared,
    message: `spec.storage.claimName: ${claim.name} has access modes ${claim.accessModes.join(', ')}; ReadWriteMany or ReadWriteOnce is needed, since several pods read it`,
    seconds: LOOK_SELDOM,
  }
}

/** For work that has written nothing yet: only the default claim is made; any other is the user's, and awaited. */
export const claimNotThere = (name: string): Wait | { readonly kind: 'makeClaim' } =>
  name === defaultClaimName
    ? { kind: 'makeClaim' }
    : {
        kind: 'wait',
        reason: WorkloadReason.ClaimNotFound,
        message: `spec.storage.claimName: there is no PersistentVolumeClaim ${name}`,
        seconds: LOOK_AGAIN,
      }

/** `lost` lay on the claim: an empty one in its place would only hide that. */
export const artifactMissing = (name: string, lost: string): Wait => ({
  kind: 'wait',
  reason: WorkloadReason.ArtifactMissing,
  message: `spec.storage.claimName: PersistentVolumeClaim ${name} is gone, and with it ${lost}; goes on when that is back`,
  seconds: LOOK_AGAIN,
})

/**
 * An attempt whose pod waits for a node, with what its claim may have to do with it: the scheduler only says that there is no volume, not
 * that nobody can make one of this access mode.
 */
export function withClaim(state: AttemptState, claim: ClaimState | undefined): AttemptState {
  if (state.kind !== 'pending' || state.reason !== WorkloadReason.Scheduling || claim?.phase !== 'Pending') return state
  const { name, accessModes } = claim
  const words = `PersistentVolumeClaim ${name} (${accessModes.join(', ')}) has no volume yet; its events say why (kubectl describe pvc ${name})`
  const madeHere = name === defaultClaimName ? ', the values storage.* of the chart how the operator made it' : ''
  return { ...state, message: `${state.message}; ${words}${madeHere}` }
}
