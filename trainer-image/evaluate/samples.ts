import type { SampleFormat } from '#proto/humanizer/trainer/v1/preparation.ts'
import { rewriteTokens } from '../serve/rewrite.ts'
import type { Row } from '../train/dataset.ts'
import { type Codec, type Example, promptMessages, renderExample } from '../train/example.ts'
import { shuffled } from '../train/packing.ts'

/** Texts whose rewriting is measured when the configuration names no number: a GPU writes 500 in the time of a few on a CPU. */
export const defaultSamples = { cpu: 16, cuda: 500 } as const

/** A held-out text that a model is asked to rewrite, as serving would ask it. */
export interface Sample {
  /** Of the row. */
  readonly id: string
  readonly input: string
  /** The human's own words. */
  readonly human: string
  readonly humanTokens: Int32Array
  readonly prompt: Int32Array
  /** What serving allows a rewrite, as far as the sequence has room. */
  readonly maxTokens: number
}

const codecTokens = ({ tokenizer, chatTemplate, dateString }: Codec, format: SampleFormat, input: string): Int32Array =>
  tokenizer.encode(chatTemplate.render(promptMessages(format, input), { addGenerationPrompt: true, dateString }))

/** The tokens of an example's answer, without its end of turn. */
export const answerTokens = ({ tokens, promptTokens }: Example): Int32Array => tokens.subarray(promptTokens, -1)

/** The fixed, seeded texts of a run: of the rows that fit whole into `capacity` tokens, the first `count` of a shuffle. */
export async function chooseSamples(
  rows: AsyncIterable<Row>,
  codec: Codec,
  format: SampleFormat,
  capacity: number,
  count: number,
  seed: number,
): Promise<Sample[]> {
  if (count === 0) return []
  const all: Row[] = []
  for await (const row of rows) all.push(row)
  const samples: Sample[] = []
  for (const { id, input, target } of shuffled(all, seed, 'samples')) {
    if (samples.length === count) break
    const example = renderExample(codec, format, { id, input, target, trainsOnInput: false })
    if (example.tokens.length > capacity) continue
    const humanTokens = answerTokens(example)
    const { promptTokens } = example
    const maxTokens = Math.min(rewriteTokens(codec.tokenizer.encode(input).length), capacity - promptTokens)
    samples.push({ id, input, human: target, humanTokens, prompt: example.tokens.slice(0, promptTokens), maxTokens })
  }
  return samples
}

/** Beginning of a training text and how it goes on. */
export interface Continuation {
  readonly id: string
  /** A prompt without a text, and then the answer's beginning. */
  readonly prompt: Int32Array
  readonly next: Int32Array
}

/** Tokens given and tokens wanted (Carlini et al. 2023, arXiv 2202.07646); of a shorter text half and half, if that is enough to tell. */
const PREFIX = 50
const SHORTEST_PREFIX = 10

/** Seeded training texts for the test of what can be extracted: nothing of the text stands in the prompt but its beginning. */
export function chooseContinuations(
  examples: readonly Example[],
  codec: Codec,
  format: SampleFormat,
  count: number,
  seed: number,
): Continuation[] {
  const prompt = codecTokens(codec, format, '')
  const chosen: Continuation[] = []
  for (const example of shuffled(examples, seed, 'continuations')) {
    if (chosen.length === count) break
    const answer = answerTokens(example)
    const length = Math.min(PREFIX, Math.floor(answer.length / 2))
    if (length < SHORTEST_PREFIX) continue
    const given = new Int32Array(prompt.length + length)
    given.set(prompt)
    given.set(answer.subarray(0, length), prompt.length)
    chosen.push({ id: example.id, prompt: given, next: answer.slice(length, 2 * length) })
  }
  return chosen
}
