import type { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import type { AdapterRelease, AdapterReleaseStatus } from '../api/generated/adapterrelease.ts'
import { PushedCondition } from '../api/release-reasons.ts'
import { type Outcome, settled, waiting } from '../controller/outcome.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { findCondition } from '../kube/conditions.ts'
import type { Release, Status } from './adapter.ts'
import type { AdapterWork } from './adapter-job.ts'
import type { Refusal } from './children.ts'
import { decide } from './decide.ts'
import { keptOf, type LiveRuns, runsOf } from './kept.ts'
import { type Asked, callKey, type Observed, type ServingPod } from './observed.ts'
import { noProbes, type Probes, sumOf } from './probes.ts'
import { pushRefused } from './pushing.ts'
import type { ServingSettings } from './serving.ts'
import { afterTransition, atRest } from './status.ts'
import { expanded, stored } from './stored.ts'

/** What a reconcile may do. Each is idempotent; any may throw, and the next reconcile starts from what was written. */
export interface Effects {
  readonly settings: ServingSettings
  observe(release: Release, asked: Asked, now: Date): Promise<Observed>
  /** Resolves the release as it now is. Throws when it was written by somebody else meanwhile. */
  writeStatus(release: AdapterRelease, status: AdapterReleaseStatus): Promise<AdapterRelease>
  /** Applies in order; stops before what cannot be made, and resolves why. */
  apply(release: Release, objects: readonly KubeObject[]): Promise<Refusal | undefined>
  /** Resolves what came of the requests that were sent to the pods `underLoad` meanwhile. */
  activate(
    release: Release,
    pods: readonly ServingPod[],
    desired: DesiredAdapter,
    underLoad: readonly ServingPod[],
  ): Promise<Probes>
  /** Makes the Job of one attempt; resolves why it cannot. */
  merge(release: Release, work: AdapterWork): Promise<Refusal | undefined>
  /** As merge, of the Job that pushes. */
  push(release: Release, work: AdapterWork): Promise<Refusal | undefined>
  retire(release: Release, objects: readonly KubeObject[]): Promise<Refusal | undefined>
  /** Which of these runs are there. */
  liveRuns(release: Release, names: readonly string[]): Promise<LiveRuns>
  /** Never throws. */
  event(release: AdapterRelease, type: 'Normal' | 'Warning', reason: string, message: string): Promise<void>
  /** Milliseconds on a clock that never goes back. */
  elapsed(): number
}

/** More steps than any way from a new spec to rest has; then others get their turn. */
const mostRounds = 12

/** Observe, decide, do one thing; again until there is nothing to do now. */
export async function reconcileRelease(release: AdapterRelease, effects: Effects, now: Date): Promise<Outcome> {
  const work = new Work(release, effects, now)
  try {
    for (let round = 0; round < mostRounds; round++) {
      const outcome = await work.step()
      if (outcome) return outcome
    }
    return waiting(1)
  } finally {
    await work.eventsTold()
  }
}

/** One reconcile. */
class Work {
  readonly #effects: Effects
  readonly #began: Date
  readonly #beganAt: number
  readonly #called = new Set<string>()
  readonly #silent = new Set<string>()
  readonly #told = new Set<string>()
  #probes = noProbes
  readonly #events: Promise<void>[] = []
  /** As last written, and the same as decide sees it. */
  #object: AdapterRelease
  #release: Release

  constructor(object: AdapterRelease, effects: Effects, now: Date) {
    this.#object = object
    this.#release = expanded(object)
    this.#effects = effects
    this.#began = now
    this.#beganAt = effects.elapsed()
  }

  get #now(): Date {
    return new Date(this.#began.getTime() + this.#effects.elapsed() - this.#beganAt)
  }

  /** Undefined: there may be more to do. */
  async step(): Promise<Outcome | undefined> {
    const observed = await this.#observe()
    const decision = decide(this.#release, observed, this.#effects.settings, this.#now)
    switch (decision.kind) {
      case 'transition': {
        const { event, changes } = decision.transition
        await this.#write(afterTransition(this.#release.status, decision.transition))
        if (changes.drill) this.#probes = noProbes
        if (event) this.#tell(event.type, event.reason, event.message)
        return undefined
      }
      case 'apply': {
        const refusal = await this.#effects.apply(this.#release, decision.objects)
        return refusal && this.#rest(observed, refusal)
      }
      case 'activate': {
        for (const { uid } of decision.pods) {
          this.#called.add(callKey(uid, decision.desired.generation))
          this.#silent.delete(uid)
        }
        const { pods, desired, underLoad } = decision
        this.#probes = sumOf(this.#probes, await this.#effects.activate(this.#release, pods, desired, underLoad))
        return undefined
      }
      case 'merge': {
        const refusal = await this.#effects.merge(this.#release, decision)
        return refusal && this.#rest(observed, refusal)
      }
      case 'push': {
        const refusal = await this.#effects.push(this.#release, decision)
        if (refusal)
          await this.#write(afterTransition(this.#release.status, pushRefused(this.#release, refusal, this.#now)))
        return undefined
      }
      case 'retire': {
        const refusal = await this.#effects.retire(this.#release, decision.objects)
        return refusal && this.#rest(observed, refusal)
      }
      case 'rest':
        return this.#rest(observed, decision)
    }
  }

  /** Events are told beside the work: a rollback does not wait for them. */
  async eventsTold(): Promise<void> {
    await Promise.all(this.#events)
  }

  async #observe(): Promise<Observed> {
    const asked = { called: this.#called, silent: this.#silent, probes: this.#probes }
    const observed = await this.#effects.observe(this.#release, asked, this.#now)
    for (const { uid, ip, state, doubt } of observed.pods) if (ip && !state && !doubt) this.#silent.add(uid)
    return observed
  }

  async #rest(observed: Observed, { summary, seconds }: Refusal): Promise<Outcome> {
    const before = this.#release.status?.conditions
    const { state, reason } = summary
    // Read only here: a rollback does not wait for it.
    const kept = keptOf(this.#release, await this.#effects.liveRuns(this.#release, runsOf(this.#release)))
    const message = kept ? `${summary.message}; ${kept}` : summary.message
    const said = { state, reason, message }
    await this.#write(atRest(this.#release, observed, said, this.#effects.settings.trainerImage, this.#now))
    if (findCondition(before, 'Ready')?.reason !== reason && !this.#told.has(reason))
      this.#tell(state === 'stalled' ? 'Warning' : 'Normal', reason, message)
    const pushed = findCondition(this.#object.status?.conditions, PushedCondition)
    if (pushed && findCondition(before, PushedCondition)?.reason !== pushed.reason)
      this.#tell(pushed.status === 'False' ? 'Warning' : 'Normal', pushed.reason, pushed.message)
    return seconds === undefined ? settled : waiting(seconds)
  }

  async #write(status: Status): Promise<void> {
    this.#object = await this.#effects.writeStatus(this.#object, stored(status))
    this.#release = expanded(this.#object)
  }

  #tell(type: 'Normal' | 'Warning', reason: string, message: string): void {
    this.#told.add(reason)
    this.#events.push(this.#effects.event(this.#object, type, reason, message))
  }
}
