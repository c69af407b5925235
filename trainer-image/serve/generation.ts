import type { SampledToken, TokenChoice } from '../native/index.ts'
import { uniform } from './philox.ts'
import { choiceOf, type Sampling } from './sampler.ts'
import { StopScanner } from './stop.ts'

/** Why an answer ended: an end-of-turn token or stop string, or the limit of tokens. */
export type FinishReason = 'stop' | 'length'

/** Turns tokens into text one at a time, holding bytes that are not yet a whole UTF-8 character. */
export interface TextStream {
  push(id: number): string
  end(): string
}

/** One choice of one request. */
export interface GenerationOptions {
  readonly prompt: Int32Array
  /** Tokens to generate at most, the end-of-turn token included; at least 1. */
  readonly maxTokens: number
  readonly sampling: Sampling
  readonly seed: number
  /** Index among the n choices of the request; choices of one seed differ by it. */
  readonly choice: number
  readonly stops: readonly string[]
  readonly endIds: ReadonlySet<number>
  readonly text: TextStream
}

/** What one sampled token adds to the answer. */
export interface Piece {
  /** May be empty while text is held back. */
  readonly text: string
  readonly token: SampledToken
  readonly finish: FinishReason | undefined
}

/** The answer as it grows: choices out, tokens in, pieces out. Knows nothing of batches, adapters or HTTP. */
export class Generation {
  readonly options: GenerationOptions
  readonly #scanner: StopScanner
  readonly #counts = new Map<number, number>()
  readonly #generated: number[] = []
  #finish: FinishReason | undefined

  constructor(options: GenerationOptions) {
    this.options = options
    this.#scanner = new StopScanner(options.stops)
  }

  /** Tokens sampled so far, the end-of-turn token included. */
  get completionTokens(): number {
    return this.#generated.length
  }

  get finish(): FinishReason | undefined {
    return this.#finish
  }

  /** Prompt and answer so far: what a cache must hold to go on. */
  tokens(): Int32Array {
    const { prompt } = this.options
    const tokens = new Int32Array(prompt.length + this.#generated.length)
    tokens.set(prompt)
    tokens.set(this.#generated, prompt.length)
    return tokens
  }

  /** How the next token is chosen. */
  choice(): TokenChoice {
    const { sampling, seed, choice } = this.options
    return choiceOf(sampling, this.#counts, uniform(seed, choice, this.#generated.length))
  }

  /** Takes the token that `choice` gave. Must not be called after `finish` is set. */
  accept(token: SampledToken): Piece {
    const { endIds, maxTokens, text } = this.options
    if (!Number.isFinite(token.logit))
      throw new Error(`logit of token ${token.id} is ${token.logit}, expected a finite number`)
    this.#generated.push(token.id)
    this.#counts.set(token.id, (this.#counts.get(token.id) ?? 0) + 1)
    if (endIds.has(token.id)) return this.#end('stop', token, this.#scanner.push(text.end()))
    const shown = this.#scanner.push(text.push(token.id))
    if (shown.stopped) return this.#end('stop', token, shown)
    if (this.#generated.length < maxTokens) return { text: shown.text, token, finish: undefined }
    const rest = this.#scanner.push(text.end())
    return this.#end(rest.stopped ? 'stop' : 'length', token, { ...rest, text: shown.text + rest.text })
  }

  #end(finish: FinishReason, token: SampledToken, shown: { text: string; stopped: boolean }): Piece {
    this.#finish = finish
    return { text: shown.stopped ? shown.text : shown.text + this.#scanner.end(), token, finish }
  }
}
