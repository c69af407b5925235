import { ReleaseReason } from '../api/release-reasons.ts'
import { nameOf, type Release } from './adapter.ts'
import type { Summary } from './decide.ts'
import { waitsFor } from './review.ts'
import type { Resolution } from './source.ts'

/** Evidence that could not be measured is looked for again after this time. */
const evidenceSeconds = 60

interface Standing {
  readonly summary: Summary
  readonly seconds?: number
}

/** What serves is right, or why what spec.source asks for does not serve. */
export function standing(
  release: Release,
  resolution: Resolution,
  merge: Required<Standing> | undefined,
  now: Date,
): Standing {
  const { active, candidate, verdict } = release.status ?? {}
  const serving = active ? `; ${nameOf(active)} serves` : ''
  if (merge)
    return { summary: { ...merge.summary, message: `${merge.summary.message}${serving}` }, seconds: merge.seconds }
  if (resolution.kind !== 'resolved') {
    const state = resolution.kind === 'waiting' ? 'reconciling' : 'stalled'
    return { summary: { state, reason: resolution.reason, message: `${resolution.message}${serving}` } }
  }
  if (verdict?.state === 'Refused' && candidate)
    return {
      summary: {
        state: 'stalled',
        reason: (verdict.reason ?? ReleaseReason.GateFailed) as ReleaseReason,
        message: `${nameOf(candidate)} was refused: ${verdict.message}${serving}`,
      },
    }
  if (candidate && (verdict?.state === 'RolledBack' || verdict?.state === 'Regressed')) {
    const rolledBack = verdict.state === 'RolledBack'
    const reason = rolledBack ? ReleaseReason.RolledBack : ReleaseReason.Regressed
    const message = `${nameOf(candidate)} ${rolledBack ? 'was rolled back' : 'regressed'}: ${verdict.message}${serving}`
    return { summary: { state: 'stalled', reason, message } }
  }
  if (verdict?.state === 'Held' && candidate) {
    const reason = verdict.reason as ReleaseReason
    const message = `${nameOf(candidate)} is held: ${verdict.message}${serving}`
    const seconds = reason === ReleaseReason.GateError ? evidenceSeconds : waitsFor(release, now)
    return { summary: { state: 'reconciling', reason, message }, ...(seconds !== undefined && { seconds }) }
  }
  return {
    summary: {
      state: 'ready',
      reason: ReleaseReason.Serving,
      message: active ? `every pod answers with ${nameOf(active)}` : 'nothing serves',
    },
  }
}
