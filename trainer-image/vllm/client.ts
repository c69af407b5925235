/** vLLM's HTTP API, as far as a release needs it: https://docs.vllm.ai/en/latest/features/lora/ (dynamically serving LoRA adapters). */
import { status } from '@grpc/grpc-js'
import type { RequestInit, Response } from 'undici'
import { JobFailure } from '../job/failure.ts'
import { CallRefused } from '../service/errors.ts'
import { fetch } from '../service/fetch.ts'

/** One entry of GET /v1/models. */
export interface VllmModel {
  readonly id: string
  /** Path that an adapter was loaded from, or the base's. */
  readonly root: string
  /** The base of an adapter; null for a base. */
  readonly parent: string | null
}

/** Loading may read hundreds of megabytes from a shared volume. */
const loadMilliseconds = 120_000
const askMilliseconds = 5_000
/** A vLLM that has never computed with an adapter may compile first. */
const computeMilliseconds = 60_000

/** POST /v1/completions with prompt_logprobs, as vllm/entrypoints/openai/completion/protocol.py has it: by token id, null for the first. */
interface PromptLogprobs {
  readonly choices: readonly {
    readonly prompt_logprobs?: readonly (Readonly<Record<number, { readonly logprob: number }>> | null)[] | null
  }[]
}

export class VllmClient {
  readonly #url: string
  /** Unloads that vLLM has not answered yet, by name. */
  readonly #unloads = new Map<string, Promise<void>>()

  constructor(url: string) {
    this.#url = url.replace(/\/+$/, '')
  }

  /** What is loaded. Unavailable when vLLM does not answer, as while it starts. */
  async models(): Promise<VllmModel[]> {
    const answer = await this.#fetch('/v1/models', {}, askMilliseconds)
    const body = (await answer.json()) as VllmError & { data?: VllmModel[] }
    if (!answer.ok) throw refusal(answer.status, body)
    return body.data ?? []
  }

  /** FAILED_PRECONDITION in vLLM's words when it refuses; a name that it has already is a refusal too. */
  load(name: string, path: string): Promise<void> {
    return this.#change('load', { lora_name: name, lora_path: path })
  }

  /** A name that it does not have is no failure. */
  async unload(name: string): Promise<void> {
    const unload = this.#change('unload', { lora_name: name }, 404).finally(() => {
      if (this.#unloads.get(name) === unload) this.#unloads.delete(name)
    })
    this.#unloads.set(name, unload)
    await unload
  }

  /** Resolves once no unload of the name is under way, however it ended: until then vLLM may list what is about to go. */
  async unloaded(name: string): Promise<void> {
    await this.#unloads.get(name)?.catch(() => undefined)
  }

  /** POST of a request as a client would send it; the answer is the caller's to read. */
  post(path: string, body: unknown, signal: AbortSignal): Promise<Response> {
    return fetch(`${this.#url}${path}`, { method: 'POST', headers: json, body: JSON.stringify(body), signal })
  }

  /**
   * Natural logarithm of the probability of each token after those before it; undefined for the first, which has none before it, and where
   * vLLM told none. One token of an answer is computed with them, the fewest that every vLLM takes.
   */
  async promptLogprobs(model: string, tokens: readonly number[]): Promise<(number | undefined)[]> {
    const body = { model, prompt: tokens, prompt_logprobs: 1, max_tokens: 1, temperature: 0 }
    const init = { method: 'POST', headers: json, body: JSON.stringify(body) }
    const answer = await this.#fetch('/v1/completions', init, computeMilliseconds)
    const text = await answer.text()
    const parsed = parse(text) as (VllmError & Partial<PromptLogprobs>) | undefined
    if (!answer.ok) throw refusal(answer.status, parsed ?? { message: text }, ` to prompt_logprobs of ${model}`)
    const told = parsed?.choices?.[0]?.prompt_logprobs
    return tokens.map((token, index) => told?.[index]?.[token]?.logprob)
  }

  async #change(what: 'load' | 'unload', body: object, fine?: number): Promise<void> {
    const path = `/v1/${what}_lora_adapter`
    const init = { method: 'POST', headers: json, body: JSON.stringify(body) }
    const answer = await this.#fetch(path, init, loadMilliseconds)
    const text = await answer.text()
    if (answer.ok) return
    const parsed = parse(text)
    // FastAPI's own words for a route that there is not; vLLM's errors have another form.
    if (answer.status === 404 && parsed?.detail === 'Not Found')
      throw new CallRefused(
        status.FAILED_PRECONDITION,
        `vLLM has no ${path}; expected it to run with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True`,
      )
    if (answer.status !== fine) throw refusal(answer.status, parsed ?? { message: text })
  }

  async #fetch(path: string, init: RequestInit, milliseconds: number): Promise<Response> {
    try {
      return await fetch(`${this.#url}${path}`, { ...init, signal: AbortSignal.timeout(milliseconds) })
    } catch (error) {
      const { cause, message } = error as Error & { cause?: Error }
      throw new JobFailure('Unavailable', `vLLM at ${this.#url}${path} does not answer: ${cause?.message ?? message}`)
    }
  }
}

const json = { 'content-type': 'application/json' }

/** An error of vLLM: {"error": {…}} since 0.10, the same fields at the top before. */
export interface VllmError {
  readonly error?: { readonly message?: string }
  readonly message?: string
  readonly detail?: unknown
}

function refusal(code: number, { error, message, detail }: VllmError, to = ''): CallRefused {
  const words = error?.message ?? message ?? JSON.stringify(detail ?? '')
  return new CallRefused(status.FAILED_PRECONDITION, `vLLM answered ${code}${to}: ${words}`)
}

function parse(text: string): VllmError | undefined {
  try {
    return JSON.parse(text) as VllmError
  } catch {
    return undefined
  }
}
