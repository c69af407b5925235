import { ReleaseReason } from '../api/release-reasons.ts'
import { kubeTime } from '../kube/conditions.ts'
import { type Adapter, baseDigest, nameOf, type Release, sameAdapter, type Verdict } from './adapter.ts'
import type { Objection } from './gates.ts'

/** Why a judged candidate is not switched to. */
export interface Stop {
  readonly state: 'Held' | 'Refused'
  readonly reason: ReleaseReason
  readonly message: string
  readonly heldSinceTime?: string
}

/**
 * What keeps a candidate from serving, the gravest first: a rejection, a failed gate, evidence that could not be measured,
 * a person who has not spoken, a dry run. `isKnown`: it served before, or is the base; nobody is asked about it again.
 */
export function stopFor(
  release: Release,
  adapter: Adapter,
  found: Objection | undefined,
  isKnown: boolean,
  now: Date,
): Stop | undefined {
  const { review, dryRun } = release.spec
  if (isRejected(release, adapter))
    return { state: 'Refused', reason: ReleaseReason.Rejected, message: 'spec.review.rejectedDigest is its digest' }
  if (found?.result === 'Failed') return { state: 'Refused', reason: found.reason, message: found.message }
  if (found?.result === 'Error') return { state: 'Held', reason: found.reason, message: found.message }
  if (!isApproved(release, adapter)) {
    const wanted = approvalWanted(release, adapter)
    if (found)
      return held(release, adapter, { ...found, message: `${found.message}; to let it through, ${wanted}` }, now)
    if (review?.required && !isKnown) {
      const message = `it passed its gates${samplesOf(release, adapter)}; ${wanted}`
      return held(release, adapter, { reason: ReleaseReason.ReviewPending, message }, now)
    }
  }
  if (!dryRun) return undefined
  return { state: 'Held', reason: ReleaseReason.DryRun, message: 'spec.dryRun is true; without it, it would serve' }
}

/** Where a person reads what it writes, in words. */
const samplesOf = ({ spec }: Release, { path = '' }: Adapter): string =>
  path.startsWith('runs/')
    ? `; what it writes is in ${path.slice(0, path.lastIndexOf('/'))}/report.html on claim ${spec.storage.claimName}`
    : ''

/** What a person who lets it through writes, in words. */
const approvalWanted = ({ spec }: Release, { digest }: Adapter): string =>
  `spec.review.approvedDigest is ${spec.review?.approvedDigest ?? 'not set'}, expected ${digest}`

export const isRejected = ({ spec }: Release, { digest }: Adapter): boolean =>
  digest !== baseDigest && spec.review?.rejectedDigest === digest

/** Only the very digest that was approved. */
export const isApproved = ({ spec }: Release, { digest }: Adapter): boolean =>
  digest !== baseDigest && spec.review?.approvedDigest === digest

function held(
  release: Release,
  adapter: Adapter,
  { reason, message }: { readonly reason: ReleaseReason; readonly message: string },
  now: Date,
): Stop {
  const { candidate, verdict } = release.status ?? {}
  const before = sameAdapter(candidate, adapter) ? verdict?.heldSinceTime : undefined
  const stop: Stop = { state: 'Held', reason, message, heldSinceTime: before ?? kubeTime(now) }
  return (secondsLeft(release, stop, now) ?? 1) > 0 ? stop : expired(release, stop)
}

function expired({ spec }: Release, { message, heldSinceTime }: Stop): Stop {
  return {
    state: 'Refused',
    reason: ReleaseReason.ReviewExpired,
    message: `nobody approved or rejected it within spec.review.deadlineSeconds, ${spec.review?.deadlineSeconds} s: ${message}`,
    ...(heldSinceTime && { heldSinceTime }),
  }
}

/** Until the deadline; undefined when there is none. */
function secondsLeft(
  { spec }: Release,
  { heldSinceTime }: Pick<Verdict, 'heldSinceTime'>,
  now: Date,
): number | undefined {
  const deadline = spec.review?.deadlineSeconds
  if (deadline === undefined || heldSinceTime === undefined) return undefined
  return deadline - (now.getTime() - Date.parse(heldSinceTime)) / 1000
}

/** How long the candidate may still wait for a person; undefined when it does not wait, or for ever. */
export function waitsFor(release: Release, now: Date): number | undefined {
  const { verdict } = release.status ?? {}
  if (verdict?.state !== 'Held') return undefined
  const left = secondsLeft(release, verdict, now)
  return left === undefined ? undefined : Math.max(0, left)
}

/** The verdict once the deadline has passed; undefined before. */
export function expiry(release: Release, now: Date): (Stop & { readonly about: string }) | undefined {
  const { candidate, verdict } = release.status ?? {}
  if (!candidate || !verdict || waitsFor(release, now) !== 0) return undefined
  const { reason = '', message = '', heldSinceTime } = verdict
  const stop = {
    state: 'Held',
    reason: reason as ReleaseReason,
    message,
    ...(heldSinceTime && { heldSinceTime }),
  } as const
  return { ...expired(release, stop), about: nameOf(candidate) }
}
