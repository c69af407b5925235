import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { isLoaded, loadUnlessThere, type VllmAdapter } from './adapter.ts'
import type { VllmClient } from './client.ts'

/** How often vLLM is asked what it has, in milliseconds: a restart of its container is noticed within ten seconds. */
const PACE_MILLISECONDS = 2_000

/** Looks whether vLLM still has what serves, and has it loaded again after a restart of vLLM's own container. */
export class Keeper {
  readonly #client: VllmClient
  readonly #log: Logger
  #holds = true

  constructor(client: VllmClient, log: Logger) {
    this.#client = client
    this.#log = log
  }

  /** False while requests would fail. */
  get holds(): boolean {
    return this.#holds
  }

  /** `served`: what answers now. Ends when the signal aborts. */
  async watch(
    served: () => readonly { readonly adapter: VllmAdapter | undefined }[],
    signal: AbortSignal,
    pace = PACE_MILLISECONDS,
  ): Promise<void> {
    while (!signal.aborted) {
      const now = served()
      if (now.length > 0) await this.#look(now.flatMap(({ adapter }) => adapter ?? []))
      await sleep(pace, undefined, { signal }).catch(() => undefined)
    }
  }

  async #look(adapters: readonly VllmAdapter[]): Promise<void> {
    try {
      const models = await this.#client.models()
      const lost = adapters.filter(({ name, path }) => !isLoaded(models, name, path))
      if (lost.length > 0) this.#holds = false
      for (const { name, path } of lost) {
        this.#log.warn({ name }, 'vLLM has lost what serves; it is loaded again')
        await loadUnlessThere(this.#client, name, path)
      }
      this.#holds = true
    } catch (error) {
      if (this.#holds) this.#log.error((error as Error).message)
      this.#holds = false
    }
  }
}
