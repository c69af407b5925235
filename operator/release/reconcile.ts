import type { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import { ReleaseReason } from '../api/release-reasons.ts'
import { type Outcome, settled, waiting } from '../controller/outcome.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { findCondition } from '../kube/conditions.ts'
import type { Status } from './adapter.ts'
import { decide, type Summary } from './decide.ts'
import { callKey, type Observed, type ServingPod } from './observed.ts'
import type { ServingSettings } from './serving.ts'
import { afterTransition, atRest } from './status.ts'

/** What a reconcile may do. Each is idempotent; any may throw, and the next reconcile starts from what was written. */
export interface Effects {
  readonly settings: ServingSettings
  observe(release: AdapterRelease, called: ReadonlySet<string>): Promise<Observed>
  /** Resolves the release as it now is. Throws when the status was written by somebody else meanwhile. */
  writeStatus(release: AdapterRelease, status: Status): Promise<AdapterRelease>
  /** Applies in order; stops before an object of the same name that is not ours, and resolves it. */
  apply(release: AdapterRelease, objects: readonly KubeObject[]): Promise<KubeObject | undefined>
  activate(release: AdapterRelease, pods: readonly ServingPod[], desired: DesiredAdapter): Promise<void>
  retire(release: AdapterRelease, objects: readonly KubeObject[]): Promise<void>
  event(release: AdapterRelease, type: 'Normal' | 'Warning', reason: string, message: string): Promise<void>
}

/** More steps than any way from a new spec to rest has; then others get their turn. */
const mostRounds = 12

/** Observe, decide, do one thing; again until there is nothing to do now. */
export async function reconcileRelease(release: AdapterRelease, effects: Effects, now: Date): Promise<Outcome> {
  const called = new Set<string>()
  const told = new Set<string>()
  let current = release
  for (let round = 0; round < mostRounds; round++) {
    const observed = await effects.observe(current, called)
    const decision = decide(current, observed, effects.settings, now)
    switch (decision.kind) {
      case 'transition': {
        const { event } = decision.transition
        current = await effects.writeStatus(current, afterTransition(current.status, decision.transition))
        if (event) await effects.event(current, event.type, event.reason, event.message)
        if (event) told.add(event.reason)
        break
      }
      case 'apply': {
        const foreign = await effects.apply(current, decision.objects)
        if (foreign) return await rest(current, observed, nameConflict(foreign), 60, effects, told, now)
        break
      }
      case 'activate': {
        for (const { uid } of decision.pods) called.add(callKey(uid, decision.desired.generation))
        await effects.activate(current, decision.pods, decision.desired)
        break
      }
      case 'retire':
        await effects.retire(current, decision.objects)
        break
      case 'rest':
        return await rest(current, observed, decision.summary, decision.seconds, effects, told, now)
    }
  }
  return waiting(1)
}

async function rest(
  release: AdapterRelease,
  observed: Observed,
  summary: Summary,
  seconds: number | undefined,
  effects: Effects,
  told: ReadonlySet<string>,
  now: Date,
): Promise<Outcome> {
  const before = findCondition(release.status?.conditions, 'Ready')?.reason
  const image = effects.settings.trainerImage
  const written = await effects.writeStatus(release, atRest(release, observed, summary, image, now))
  if (before !== summary.reason && !told.has(summary.reason))
    await effects.event(written, summary.state === 'stalled' ? 'Warning' : 'Normal', summary.reason, summary.message)
  return seconds === undefined ? settled : waiting(seconds)
}

function nameConflict({ kind, metadata }: KubeObject): Summary {
  return {
    state: 'reconciling',
    reason: ReleaseReason.NameConflict,
    message: `${kind} ${metadata.name} exists and is not of this release; expected it not to exist`,
  }
}
