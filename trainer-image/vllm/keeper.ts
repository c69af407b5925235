import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Release } from '../serve/release.ts'
import { isLoaded, loadUnlessThere, type VllmAdapter, verifyAdapter } from './adapter.ts'
import type { VllmClient } from './client.ts'

/** How often vLLM is asked what it has, in milliseconds: a restart of its container is noticed within ten seconds. */
const PACE_MILLISECONDS = 2_000

/** What has to be in vLLM. */
export type Holdings = Pick<Release<VllmAdapter>, 'current' | 'held'>

/**
 * Has what the release holds loaded again after a restart of vLLM's own container: what answers, and what is warm, which a switch back takes
 * as it is. It looks every two seconds; a request that finds an adapter gone need not wait for that and calls `restore`.
 */
export class Keeper {
  readonly #client: VllmClient
  readonly #holdings: () => Holdings
  readonly #log: Logger
  readonly #restoring = new Map<string, Promise<void>>()
  #holds = true

  constructor(client: VllmClient, holdings: () => Holdings, log: Logger) {
    this.#client = client
    this.#holdings = holdings
    this.#log = log
  }

  /** False while what answers is not in vLLM. */
  get holds(): boolean {
    return this.#holds
  }

  /** Ends when the signal aborts. */
  async watch(signal: AbortSignal, pace = PACE_MILLISECONDS): Promise<void> {
    while (!signal.aborted) {
      const { current, held } = this.#holdings()
      if (current.length > 0) await this.#look(adaptersOf(current), adaptersOf(held))
      await sleep(pace, undefined, { signal }).catch(() => undefined)
    }
  }

  /** Resolves once vLLM lists the adapter, or nobody holds it any more. Whoever asks for the same one meanwhile shares its load. */
  restore(adapter: VllmAdapter): Promise<void> {
    const { name } = adapter
    const restoring = this.#restoring.get(name) ?? this.#restore(adapter).finally(() => this.#restoring.delete(name))
    this.#restoring.set(name, restoring)
    return restoring
  }

  async #look(current: readonly VllmAdapter[], held: readonly VllmAdapter[]): Promise<void> {
    try {
      const models = await this.#client.models()
      const lost = held.filter(({ name, path }) => !isLoaded(models, name, path))
      const [serving, warm] = [
        lost.filter((each) => current.includes(each)),
        lost.filter((each) => !current.includes(each)),
      ]
      if (serving.length > 0) this.#holds = false
      for (const adapter of serving) await this.restore(adapter)
      this.#holds = true
      for (const adapter of warm)
        await this.restore(adapter).catch((error) => this.#log.warn({ name: adapter.name }, (error as Error).message))
    } catch (error) {
      if (this.#holds) this.#log.error((error as Error).message)
      this.#holds = false
    }
  }

  /** What was closed meanwhile must not stay in vLLM: nobody would unload it. */
  async #restore({ name, digest, path }: VllmAdapter): Promise<void> {
    if (isLoaded(await this.#client.models(), name, path) || !this.#isHeld(name)) return
    this.#log.warn({ name }, 'vLLM has lost an adapter; it is loaded again')
    await verifyAdapter(path, digest)
    await loadUnlessThere(this.#client, name, path)
    if (!this.#isHeld(name)) await this.#client.unload(name)
  }

  #isHeld(name: string): boolean {
    return adaptersOf(this.#holdings().held).some((adapter) => adapter.name === name)
  }
}

const adaptersOf = (loaded: Holdings['held']): VllmAdapter[] => loaded.flatMap(({ adapter }) => adapter ?? [])
