import type { Logger } from 'pino'
import type { Lease, LeaseStore } from '../kube/lease.ts'
import { wait } from './wait.ts'

interface LeaderOptions {
  readonly store: LeaseStore
  /** Name of this replica; unique among replicas. */
  readonly identity: string
  /** Others may take the lease this long after they last saw it renewed. */
  readonly leaseDurationSeconds: number
  /** A leader that could not renew for this long stops acting. The difference to the lease is the fence: one request must fit in it. */
  readonly renewDeadlineSeconds: number
  readonly retryPeriodSeconds: number
  readonly onLead: () => void
  readonly onFollow: () => void
  readonly log: Logger
}

/**
 * Leader election on one Lease, as client-go does it: whoever writes it leads, renews it every retry period, and
 * everybody else waits until it has not changed for a whole lease. No clock is compared with another machine's.
 *
 * Invariant: `leading` turns false renewDeadline after the start of the last good renewal, even when this process slept
 * meanwhile; a follower can turn true only leaseDuration after that renewal's end. Between the two nobody acts.
 */
export class Leader {
  readonly #options: LeaderOptions
  /** performance.now() before which this replica may act. */
  #mayActUntil = Number.NEGATIVE_INFINITY
  #leads = false
  /** The lease as last seen, and when it was first seen so. */
  #seen: { readonly version: string; readonly since: number } | undefined
  #lastSuccess = Number.NEGATIVE_INFINITY
  #provedWritable = false

  constructor(options: LeaderOptions) {
    this.#options = options
  }

  /** Asked right before every write. */
  get leading(): boolean {
    return this.#leads && performance.now() < this.#mayActUntil
  }

  /** Whether the lease could be read and written lately: what readiness depends on, for a follower too. */
  get healthy(): boolean {
    return performance.now() - this.#lastSuccess < this.#options.leaseDurationSeconds * 1000
  }

  /** Runs until the signal, when it stops leading at once; release() gives the lease back afterwards. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#step(false, 'stopping'), { once: true })
    while (!signal.aborted) {
      await this.#tryOnce(signal)
      if (this.#leads && !this.leading) this.#step(false, 'could not renew the lease in time')
      const jitter = this.#leads ? 1 : 1 + Math.random() * 0.2
      await wait(this.#nextTryMs(jitter), signal)
    }
  }

  /** Lets the next replica lead without waiting. Call after run() has ended and the last write is done. */
  async release(): Promise<void> {
    try {
      const lease = await this.#options.store.read()
      if (lease?.holder !== this.#options.identity) return
      await this.#options.store.write({ ...lease, holder: '', durationSeconds: 1, renewed: new Date() })
    } catch (error) {
      this.#options.log.warn({ error: String(error) }, 'lease not released; it runs out by itself')
    }
  }

  /** A leader wakes at its deadline too, so that its workers stop then and not at the next retry. */
  #nextTryMs(jitter: number): number {
    const retry = this.#options.retryPeriodSeconds * 1000 * jitter
    return this.#leads ? Math.max(0, Math.min(retry, this.#mayActUntil - performance.now())) : retry
  }

  async #tryOnce(signal: AbortSignal): Promise<void> {
    const started = performance.now()
    try {
      const lease = await this.#options.store.read()
      if (lease && this.#heldByOther(lease)) {
        if (this.#leads) this.#step(false, `lease taken by ${lease.holder}`)
        if (!this.#provedWritable) await this.#options.store.proveWritable(lease)
        this.#provedWritable = true
        this.#lastSuccess = performance.now()
        return
      }
      await this.#options.store.write(this.#claim(lease))
      this.#lastSuccess = performance.now()
      this.#provedWritable = true
      this.#mayActUntil = started + this.#options.renewDeadlineSeconds * 1000
      if (!signal.aborted) this.#step(true, 'lease written')
    } catch (error) {
      this.#options.log.warn({ error: String(error) }, 'lease not renewed')
    }
  }

  #heldByOther(lease: Lease): boolean {
    const now = performance.now()
    if (this.#seen?.version !== lease.version) this.#seen = { version: lease.version, since: now }
    if (lease.holder === '' || lease.holder === this.#options.identity) return false
    return now < this.#seen.since + lease.durationSeconds * 1000
  }

  #claim(lease: Lease | undefined): Lease {
    const { identity, leaseDurationSeconds } = this.#options
    const now = new Date()
    const mine = lease?.holder === identity
    return {
      version: lease?.version ?? '',
      holder: identity,
      durationSeconds: leaseDurationSeconds,
      acquired: mine ? lease.acquired : now,
      renewed: now,
      transitions: lease ? lease.transitions + (mine ? 0 : 1) : 0,
    }
  }

  #step(leads: boolean, why: string): void {
    if (this.#leads === leads) return
    this.#leads = leads
    this.#options.log.info({ leading: leads, why }, leads ? 'leading' : 'following')
    if (leads) this.#options.onLead()
    else this.#options.onFollow()
  }
}
