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

  /** `served`: what answers now; undefined before anything does, `{adapter: undefined}` for the base. Ends when the signal aborts. */
  async watch(
    served: () => { readonly adapter: VllmAdapter | undefined } | undefined,
    signal: AbortSignal,
    pace = PACE_MILLISECONDS,
  ): Promise<void> {
    while (!signal.aborted) {
      const now = served()
      if (now) await this.#look(now.adapter)
      await sleep(pace, undefined, { signal }).catch(() => undefined)
    }
  }

  async #look(adapter: VllmAdapter | undefined): Promise<void> {
    try {
      const models = await this.#client.models()
      if (adapter && !isLoaded(models, adapter.name, adapter.path)) {
        this.#holds = false
        this.#log.warn({ name: adapter.name }, 'vLLM has lost what serves; it is loaded again')
        await loadUnlessThere(this.#client, adapter.name, adapter.path)
      }
      this.#holds = true
    } catch (error) {
      if (this.#holds) this.#log.error((error as Error).message)
      this.#holds = false
    }
  }
}
