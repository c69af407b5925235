import { WorkloadReason } from '../api/workload-reasons.ts'
import { type ClaimState, defaultClaimName, sharingOf } from './claim.ts'
import type { ClaimUse } from './pod.ts'

type Wait = {
  readonly kind: 'wait'
  readonly reason: WorkloadReason
  readonly message: string
  readonly seconds: number
}
type Stall = { readonly kind: 'stall'; readonly reason: WorkloadReason; readonly message: string }

/** Seconds after which a claim, which is not watched, is looked for again. */
const LOOK_AGAIN = 30

/** How pods use the claim that `spec.storage` names, or why they cannot. */
export function claimUse(claim: ClaimState): { readonly kind: 'usable'; readonly claim: ClaimUse } | Stall {
  const sharing = sharingOf(claim)
  if (sharing !== 'onePod') return { kind: 'usable', claim: { name: claim.name, singleNode: sharing === 'oneNode' } }
  return {
    kind: 'stall',
    reason: WorkloadReason.StorageNotShared,
    message: `spec.storage.claimName: ${claim.name} has access modes ${claim.accessModes.join(', ')}; ReadWriteMany or ReadWriteOnce is needed, since several pods read it`,
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
