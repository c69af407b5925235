import type { Adapter, Model } from '../native/index.ts'
import { Generation } from '../serve/generation.ts'
import { choiceOf } from '../serve/sampler.ts'
import { Scheduler } from '../serve/scheduler.ts'
import type { Codec } from '../train/example.ts'
import { PROMPT_TOKENS, TEXTS_AT_ONCE } from '../train/text-memory.ts'
import type { Work } from '../train/work.ts'
import type { Continuation, Sample } from './samples.ts'

const sampling = { temperature: 0, topP: 1, presencePenalty: 0, frequencyPenalty: 0, topLogprobs: undefined }
const greedy = choiceOf(sampling, new Map(), 0)

/** What a model wrote for a sample. */
export interface Output {
  /** The sample's. */
  readonly id: string
  readonly text: string
  /** Without the end of turn. */
  readonly tokens: readonly number[]
  /** "length": it did not end by itself. */
  readonly finish: 'stop' | 'length'
}

/**
 * The greedy answer to each sample, in their order: equal adapters and samples give equal answers. Keys and values of all answers
 * together stay within `cacheTokens`, which the plan of memory counts.
 */
export async function writeOutputs(
  model: Model,
  adapter: Adapter | undefined,
  samples: readonly Sample[],
  { tokenizer, generation: { endOfTurnIds } }: Codec,
  cacheTokens: number,
  { signal, beat }: Work,
): Promise<Output[]> {
  const endIds = new Set(endOfTurnIds)
  const limits = { maxRunning: TEXTS_AT_ONCE, maxWaiting: samples.length, prefillTokens: PROMPT_TOKENS, cacheTokens }
  const jobs = samples.map(({ prompt, maxTokens }) => {
    const text = tokenizer.decodeStream()
    const options = { prompt, maxTokens, sampling, seed: 0, choice: 0, stops: [], endIds, text }
    const generation = new Generation(options)
    const pieces: string[] = []
    const onPiece = ({ text }: { readonly text: string }): void => {
      pieces.push(text)
      beat()
    }
    return { adapter, generation, pieces, onPiece }
  })
  await cancelledOn(signal, model, () => new Scheduler(model, limits).run(jobs, signal))
  return jobs.map(({ generation, pieces }, index) => {
    const { id, prompt } = samples[index]!
    const tokens = [...generation.tokens().subarray(prompt.length)].filter((token) => !endIds.has(token))
    return { id, text: pieces.join(''), tokens, finish: generation.finish ?? 'length' }
  })
}

/** How many tokens of each continuation the model writes greedily and word for word before it first goes another way. */
export async function extract(
  model: Model,
  adapter: Adapter | undefined,
  continuations: readonly Continuation[],
  { signal, beat }: Work,
): Promise<number[]> {
  const matched: number[] = []
  for (const { prompt, next } of continuations) {
    const sequence = model.openSequence(adapter, prompt.length + next.length, prompt.length)
    try {
      let pending = prompt
      let length = 0
      while (length < next.length) {
        signal.throwIfAborted()
        const tokens = pending.subarray(0, PROMPT_TOKENS)
        const choice = tokens.length === pending.length ? greedy : undefined
        const [token] = await cancelledOn(signal, model, () => model.sample([{ sequence, tokens, choice }]))
        beat()
        pending = pending.subarray(tokens.length)
        if (!token) continue
        if (token.id !== next[length]) break
        pending = next.subarray(length, ++length)
      }
      matched.push(length)
    } finally {
      sequence.close()
    }
  }
  return matched
}

/** An abort cuts off what the engine computes, and is over when that has ended: nothing is left behind. */
async function cancelledOn<T>(signal: AbortSignal, model: Model, work: () => Promise<T>): Promise<T> {
  signal.throwIfAborted()
  const cancel = (): void => model.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  try {
    return await work()
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}
