import { status } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import type { DesiredAdapter, ServingHealth, ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import type { Adapter } from '../native/index.ts'
import { CallRefused } from '../service/errors.ts'
import { checkDesired, type Remembered } from './desired.ts'
import type { Totals } from './health.ts'
import { accept, converged, decide, fail, flip, initialSwitchState, nameDigest, servingState } from './switch.ts'

/** What a digest became in memory. */
export interface LoadedAdapter {
  /** undefined is the untouched base. */
  readonly adapter: Adapter | undefined
  /** What the chat template saw as today in its training, where that was recorded. */
  readonly templateDate?: string
  /** The chat template that it was trained with. */
  readonly chatTemplate?: string
}

/** What one request runs on from its first token to its last. */
export interface Lease extends LoadedAdapter {
  /** "" is the untouched base. */
  readonly digest: string
  readonly desired: DesiredAdapter
  /** To be called exactly once, when no sequence of the request is open any more. */
  release(): void
}

/** What a release needs from the world. */
export interface ReleaseEffects {
  /** Promotes, verifies, loads and proves. Throws typed failures and leaves nothing open. */
  load(desired: DesiredAdapter): Promise<LoadedAdapter>
  /** Writes durably what a restarted container must know. */
  remember(state: Remembered): Promise<void>
  /** Told of each attempt to switch, in seconds. */
  switched(seconds: number, ok: boolean): void
  /** How a digest has done lately. */
  health(digest: string): ServingHealth
  /** Requests since the process began. */
  totals(): Totals
  readonly log: Logger
  now(): Date
}

interface Loaded extends LoadedAdapter {
  readonly digest: string
  requests: number
}

/**
 * The adapter that answers, and the way to another one: it is loaded and proved beside the old one, then one assignment
 * flips. Requests hold a lease on what they began with; the old adapter is closed when its last lease ends and it need not
 * stay warm. A warm adapter was read and proved once and serves again as it is: files that changed since are not seen.
 */
export class Release {
  readonly #podUid: string
  readonly #effects: ReleaseEffects
  #state = initialSwitchState
  #loaded: Loaded | undefined
  #draining = new Set<Loaded>()
  /** What served before, kept for `warmSeconds`: one of #draining that is not closed. */
  #warm: { readonly loaded: Loaded; readonly timer: NodeJS.Timeout } | undefined
  #inFlight: { readonly generation: number; readonly promise: Promise<void> } | undefined
  /** Decisions are taken one after another, each with its durable write; loads likewise, so that one candidate is in memory. */
  #decisions: Promise<unknown> = Promise.resolve()
  #loads: Promise<unknown> = Promise.resolve()

  constructor(podUid: string, effects: ReleaseEffects) {
    this.#podUid = podUid
    this.#effects = effects
  }

  /** True when something proved answers requests. It stays true while a newer one loads, or fails to. */
  get serving(): boolean {
    return this.#loaded !== undefined
  }

  /** True when what answers is what is desired. */
  get converged(): boolean {
    return converged(this.#state)
  }

  /** The highest generation accepted, or undefined. */
  get desired(): DesiredAdapter | undefined {
    return this.#state.desired
  }

  get failed(): boolean {
    return this.#state.failure !== undefined
  }

  state(): ServingState {
    const draining = [...this.#draining].reduce((sum, loaded) => sum + loaded.requests, 0)
    const requests = { active: this.#loaded?.requests ?? 0, draining }
    const health = this.#loaded && this.#effects.health(this.#loaded.digest)
    return servingState(this.#state, this.#podUid, requests, health, this.#effects.totals())
  }

  /** undefined until something serves. */
  lease(): Lease | undefined {
    const loaded = this.#loaded
    if (!loaded) return undefined
    loaded.requests++
    const { digest, adapter, templateDate, chatTemplate } = loaded
    return {
      digest,
      adapter,
      ...(templateDate !== undefined && { templateDate }),
      ...(chatTemplate !== undefined && { chatTemplate }),
      desired: this.#state.served!.desired,
      release: () => this.#letGo(loaded),
    }
  }

  /**
   * Makes `wanted` serve; resolves once it does. Calls may race: the highest generation wins, equal ones share one
   * load. Rejects with FAILED_PRECONDITION for an older or contradicting generation, ABORTED when a newer one
   * overtook it, and with the failure of the load; in each case what served before serves on.
   */
  async want(wanted: DesiredAdapter): Promise<void> {
    checkDesired(wanted)
    const load = await this.#decide(async () => {
      const verdict = decide(this.#state, wanted)
      if (verdict.kind === 'refuse') throw new CallRefused(status.FAILED_PRECONDITION, verdict.message)
      if (verdict.kind === 'nothing') return undefined
      if (verdict.kind === 'load' && this.#inFlight?.generation === wanted.generation) return this.#inFlight
      const accepted = accept(this.#state, wanted)
      const { served } = accepted
      const next = verdict.kind === 'adopt' && served ? flip(accepted, { ...served, desired: wanted }) : accepted
      await this.#effects.remember({ desired: wanted, served: next.served?.desired })
      this.#state = next
      return verdict.kind === 'adopt' ? undefined : this.#startLoad(wanted)
    })
    await load?.promise
  }

  /** After a restart whose desired adapter does not load: serve what this pod served before, without giving up on it. */
  async fallBack(served: DesiredAdapter): Promise<void> {
    const began = performance.now()
    await this.#oneLoad(async () => {
      if (this.#loaded) return
      const loaded = await this.#effects.load(served)
      const loadedTime = this.#effects.now()
      this.#state = { ...this.#state, served: { desired: served, loadedTime } }
      this.#loaded = { ...loaded, digest: served.digest, requests: 0 }
      this.#effects.switched((performance.now() - began) / 1000, true)
    })
  }

  /** Closes what is loaded. No lease may be out. */
  close(): void {
    this.#cool()
    this.#loaded?.adapter?.close()
    this.#loaded = undefined
  }

  #startLoad(wanted: DesiredAdapter): { generation: number; promise: Promise<void> } {
    const promise = this.#oneLoad(() => this.#load(wanted)).finally(() => {
      if (this.#inFlight === inFlight) this.#inFlight = undefined
    })
    const inFlight = { generation: wanted.generation, promise }
    this.#inFlight = inFlight
    return inFlight
  }

  async #load(wanted: DesiredAdapter): Promise<void> {
    this.#refuseOvertaken(wanted)
    const began = performance.now()
    const seconds = (): number => (performance.now() - began) / 1000
    const warm = this.#holdWarm(wanted.digest)
    let next: Loaded
    try {
      next = warm ?? { ...(await this.#effects.load(wanted)), digest: wanted.digest, requests: 0 }
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error)
      if (this.#isDesired(wanted)) this.#state = fail(this.#state, message)
      this.#effects.switched(seconds(), false)
      this.#effects.log.error({ generation: wanted.generation, digest: nameDigest(wanted.digest) }, message)
      throw error
    }
    await this.#decide(async () => {
      if (!this.#isDesired(wanted) && !warm) next.adapter?.close()
      this.#refuseOvertaken(wanted)
      this.#install(wanted, next)
      await this.#effects
        .remember({ desired: wanted, served: wanted })
        .catch((error) => this.#effects.log.error({ err: error }, 'cannot remember what serves'))
    }).finally(() => {
      if (warm) this.#letGo(warm)
    })
    this.#effects.switched(seconds(), true)
    this.#effects.log.info({ generation: wanted.generation, digest: nameDigest(wanted.digest) }, 'serving')
  }

  /** The flip: between two requests, in one turn of the event loop. */
  #install(wanted: DesiredAdapter, next: Loaded): void {
    const old = this.#loaded
    this.#loaded = next
    this.#draining.delete(next)
    this.#state = flip(this.#state, { desired: wanted, loadedTime: this.#effects.now() })
    this.#cool()
    if (!old) return
    this.#draining.add(old)
    if (wanted.warmSeconds > 0 && old.adapter) {
      const timer = setTimeout(() => this.#cool(), wanted.warmSeconds * 1000).unref()
      this.#warm = { loaded: old, timer }
    }
    this.#closeWhenDrained(old)
  }

  /** What is warm, held like by a request, so that it is not closed before the flip. */
  #holdWarm(digest: string): Loaded | undefined {
    const loaded = this.#warm?.loaded
    if (loaded?.digest !== digest) return undefined
    loaded.requests++
    return loaded
  }

  #letGo(loaded: Loaded): void {
    loaded.requests--
    if (loaded !== this.#loaded) this.#closeWhenDrained(loaded)
  }

  /** Nothing is warm any more. */
  #cool(): void {
    const { loaded, timer } = this.#warm ?? {}
    clearTimeout(timer)
    this.#warm = undefined
    if (loaded) this.#closeWhenDrained(loaded)
  }

  #closeWhenDrained(loaded: Loaded): void {
    if (loaded === this.#warm?.loaded) return
    if (loaded.requests === 0 && this.#draining.delete(loaded)) loaded.adapter?.close()
  }

  #isDesired(wanted: DesiredAdapter): boolean {
    return this.#state.desired?.generation === wanted.generation
  }

  #refuseOvertaken(wanted: DesiredAdapter): void {
    if (this.#isDesired(wanted)) return
    const message = `generation ${wanted.generation} was overtaken by ${this.#state.desired?.generation}`
    throw new CallRefused(status.ABORTED, message)
  }

  #decide<T>(decision: () => Promise<T>): Promise<T> {
    const turn = this.#decisions.then(decision)
    this.#decisions = turn.catch(() => undefined)
    return turn
  }

  #oneLoad<T>(load: () => Promise<T>): Promise<T> {
    const turn = this.#loads.then(load)
    this.#loads = turn.catch(() => undefined)
    return turn
  }
}
