import type { SampleFormat } from '#proto/humanizer/trainer/v1/preparation.ts'
import type { Adapter } from '../native/index.ts'

/** An adapter as an engine holds it. */
export interface Closable {
  close(): void
}

/** What a digest became in memory. */
export interface LoadedAdapter<A extends Closable = Adapter> {
  /** undefined is the untouched base. */
  readonly adapter: A | undefined
  /** What the chat template saw as today in its training, where that was recorded. */
  readonly templateDate?: string
  /** The chat template that it was trained with. */
  readonly chatTemplate?: string
}

/** What one request runs on from its first token to its last. */
export interface Lease<A extends Closable = Adapter> extends LoadedAdapter<A> {
  /** "" is the untouched base. */
  readonly digest: string
  /** Prompt of the dataset that it was trained on. */
  readonly format: SampleFormat | undefined
  /** To be called exactly once, when no sequence of the request is open any more. */
  release(): void
}
