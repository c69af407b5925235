import { status } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import type { DesiredAdapter, ServingHealth, ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import type { Adapter } from '../native/index.ts'
import { CallRefused } from '../service/errors.ts'
import { checkDesired, type Remembered } from './desired.ts'
import type { Totals } from './health.ts'
import type { Closable, Lease, LoadedAdapter } from './lease.ts'
import { Share } from './share.ts'
import { accept, converged, decide, fail, flip, initialSwitchState, nameDigest, servingState } from './switch.ts'

/** What a release needs from the world. */
export interface ReleaseEffects<A extends Closable = Adapter> {
  /** Promotes, verifies, loads and proves. Throws typed failures and leaves nothing open. */
  load(desired: DesiredAdapter): Promise<LoadedAdapter<A>>
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

interface Loaded<A extends Closable> extends LoadedAdapter<A> {
  readonly digest: string
  requests: number
}

/** A second adapter, and its share of the requests. */
interface SplitLoaded<A extends Closable> {
  readonly loaded: Loaded<A>
  readonly share: Share
}

/**
 * The adapter that answers, and the way to another one: it is loaded and proved beside the old one, then one assignment
 * flips. Requests hold a lease on what they began with; the old adapter is closed when its last lease ends and it need not
 * stay warm. One that is not closed was read and proved once and serves again as it is: files that changed since are not seen.
 */
export class Release<A extends Closable = Adapter> {
  readonly #podUid: string
  readonly #effects: ReleaseEffects<A>
  #state = initialSwitchState
  #loaded: Loaded<A> | undefined
  #split: SplitLoaded<A> | undefined
  /** What served before and is not closed yet. */
  #draining = new Set<Loaded<A>>()
  /** One of #draining, kept for `warmSeconds`. */
  #warm: { readonly loaded: Loaded<A>; readonly timer: NodeJS.Timeout } | undefined
  #inFlight: { readonly generation: number; readonly promise: Promise<void> } | undefined
  /** Decisions are taken one after another, each with its durable write; loads likewise, so that one candidate is in memory. */
  #decisions: Promise<unknown> = Promise.resolve()
  #loads: Promise<unknown> = Promise.resolve()

  constructor(podUid: string, effects: ReleaseEffects<A>) {
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
    const active = (this.#loaded?.requests ?? 0) + (this.#split?.loaded.requests ?? 0)
    const requests = { active, draining }
    const { health, totals } = this.#effects
    return servingState(this.#state, this.#podUid, requests, health, totals())
  }

  /** What answers requests now: nothing at first, two while there is a split. */
  get current(): readonly LoadedAdapter<A>[] {
    return [this.#loaded, this.#split?.loaded].filter((each) => each !== undefined)
  }

  /** All that is loaded: what answers now, then what is warm or still has requests. */
  get held(): readonly LoadedAdapter<A>[] {
    return [...this.current, ...this.#draining]
  }

  /** undefined until something serves. `isSplit`: the request is for the release's name, so that its share may run on the second adapter. */
  lease(isSplit = true): Lease<A> | undefined {
    const loaded = isSplit && this.#split?.share.next() ? this.#split.loaded : this.#loaded
    if (!loaded) return undefined
    loaded.requests++
    const { digest, adapter, templateDate, chatTemplate } = loaded
    const { format, split } = this.#state.served!.desired
    return {
      digest,
      adapter,
      ...(templateDate !== undefined && { templateDate }),
      ...(chatTemplate !== undefined && { chatTemplate }),
      format: loaded === this.#split?.loaded ? split?.format : format,
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
      if (verdict.kind === 'adopt') this.#share(wanted)
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
    this.#split?.loaded.adapter?.close()
    this.#loaded = undefined
    this.#split = undefined
  }

  /** The second adapter goes, or gets another share. */
  #share({ split }: DesiredAdapter): void {
    const { loaded } = this.#split ?? {}
    this.#split = loaded && split && { loaded, share: new Share(split.percent) }
    if (!loaded || this.#split) return
    this.#draining.add(loaded)
    this.#closeWhenDrained(loaded)
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
    const held: Loaded<A>[] = []
    const fresh: Loaded<A>[] = []
    const obtain = async (desired: DesiredAdapter): Promise<Loaded<A>> => {
      const known = this.#hold(desired.digest)
      const loaded = known ?? { ...(await this.#effects.load(desired)), digest: desired.digest, requests: 0 }
      ;(known ? held : fresh).push(loaded)
      return loaded
    }
    const discard = (): void => {
      for (const loaded of fresh) loaded.adapter?.close()
    }
    let next: Loaded<A>
    let second: Loaded<A> | undefined
    try {
      next = await obtain(wanted)
      const { split } = wanted
      second = split && (await obtain({ ...split, generation: wanted.generation, warmSeconds: 0, split: undefined }))
    } catch (error) {
      discard()
      for (const loaded of held) this.#letGo(loaded)
      const message = error instanceof Error ? error.message : String(error)
      if (this.#isDesired(wanted)) this.#state = fail(this.#state, message)
      this.#effects.switched(seconds(), false)
      this.#effects.log.error({ generation: wanted.generation, digest: nameDigest(wanted.digest) }, message)
      throw error
    }
    await this.#decide(async () => {
      if (!this.#isDesired(wanted)) discard()
      this.#refuseOvertaken(wanted)
      this.#install(wanted, next, second)
      await this.#effects
        .remember({ desired: wanted, served: wanted })
        .catch((error) => this.#effects.log.error({ err: error }, 'cannot remember what serves'))
    }).finally(() => {
      for (const loaded of held) this.#letGo(loaded)
    })
    this.#effects.switched(seconds(), true)
    this.#effects.log.info({ generation: wanted.generation, digest: nameDigest(wanted.digest) }, 'serving')
  }

  /** The flip: between two requests, in one turn of the event loop. */
  #install(wanted: DesiredAdapter, next: Loaded<A>, second: Loaded<A> | undefined): void {
    const [old, oldSecond] = [this.#loaded, this.#split?.loaded]
    this.#loaded = next
    this.#split = second && { loaded: second, share: new Share(wanted.split?.percent ?? 0) }
    this.#draining.delete(next)
    if (second) this.#draining.delete(second)
    this.#state = flip(this.#state, { desired: wanted, loadedTime: this.#effects.now() })
    this.#cool()
    const left = [old, oldSecond].filter((each) => each && each !== next && each !== second) as Loaded<A>[]
    for (const loaded of left) this.#draining.add(loaded)
    if (old && left.includes(old) && wanted.warmSeconds > 0 && old.adapter) {
      const timer = setTimeout(() => this.#cool(), wanted.warmSeconds * 1000).unref()
      this.#warm = { loaded: old, timer }
    }
    for (const loaded of left) this.#closeWhenDrained(loaded)
  }

  /**
   * What is in memory already, held like by a request, so that it is not closed before the flip. A digest is in memory once, even if it
   * drains: an engine may know it by a name, which the end of one of two would take from the other.
   */
  #hold(digest: string): Loaded<A> | undefined {
    const known = [this.#loaded, this.#split?.loaded, ...this.#draining].find((each) => each?.digest === digest)
    if (known) known.requests++
    return known
  }

  #letGo(loaded: Loaded<A>): void {
    loaded.requests--
    this.#closeWhenDrained(loaded)
  }

  /** Nothing is warm any more. */
  #cool(): void {
    const { loaded, timer } = this.#warm ?? {}
    clearTimeout(timer)
    this.#warm = undefined
    if (loaded) this.#closeWhenDrained(loaded)
  }

  #closeWhenDrained(loaded: Loaded<A>): void {
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
