import { WorkloadReason } from '../api/workload-reasons.ts'
import { type ClaimState, defaultClaimName, sharingOf } from './claim.ts'
import type { ClaimUse } from './pod.ts'

/** Whether pods can use the claim that `spec.storage` names. */
export type ClaimReadiness =
  | { readonly kind: 'usable'; readonly claim: ClaimUse }
  | { readonly kind: 'toBeMade' }
  | { readonly kind: 'notThere'; readonly message: string }
  | { readonly kind: 'unfit'; readonly message: string }

/** Only the default claim is made; any other is the user's, and awaited. */
export function claimReadiness(name: string, claim: ClaimState | undefined): ClaimReadiness {
  if (!claim && name === defaultClaimName) return { kind: 'toBeMade' }
  if (!claim) return { kind: 'notThere', message: `spec.storage.claimName: there is no PersistentVolumeClaim ${name}` }
  const sharing = sharingOf(claim)
  if (sharing === 'onePod')
    return {
      kind: 'unfit',
      message: `spec.storage.claimName: ${name} has access modes ${claim.accessModes.join(', ')}; ReadWriteMany or ReadWriteOnce is needed, since several pods read it`,
    }
  return { kind: 'usable', claim: { name, singleNode: sharing === 'oneNode' } }
}

/** What to decide instead of going on, when the claim cannot be used yet. */
export type ClaimObstacle =
  | { readonly kind: 'makeClaim' }
  | { readonly kind: 'wait'; readonly reason: WorkloadReason; readonly message: string; readonly seconds: number }
  | { readonly kind: 'stall'; readonly reason: WorkloadReason; readonly message: string }

/** Seconds after which something that is not watched is looked for again. */
const LOOK_AGAIN = 30

export function claimObstacle(readiness: Exclude<ClaimReadiness, { kind: 'usable' }>): ClaimObstacle {
  switch (readiness.kind) {
    case 'toBeMade':
      return { kind: 'makeClaim' }
    case 'notThere':
      return { kind: 'wait', reason: WorkloadReason.ClaimNotFound, message: readiness.message, seconds: LOOK_AGAIN }
    case 'unfit':
      return { kind: 'stall', reason: WorkloadReason.StorageNotShared, message: readiness.message }
  }
}
