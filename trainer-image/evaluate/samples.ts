import type { SampleFormat } from '#proto/humanizer/trainer/v1/preparation.ts'
import { rewriteTokens } from '../serve/rewrite.ts'
import type { MachineText, Row } from '../train/dataset.ts'
import { type Codec, type Example, promptMessages, renderExample } from '../train/example.ts'
import { shuffled } from '../train/packing.ts'

/** Texts whose rewriting is measured when the configuration names no number: a GPU writes 500 in the time of a few on a CPU. */
export const defaultSamples = { CPU: 16, CUDA: 500 } as const

/** A held-out or machine-written text that a model is asked to rewrite, as serving would ask it. */
export interface Sample {
  /** Of the row. */
  readonly id: string
  readonly input: string
  /** The human's own words; undefined where a machine wrote the input and nobody rewrote it. */
  readonly human: string | undefined
  /** Of the human's words, if there are any. */
  readonly humanTokens: Int32Array
  readonly prompt: Int32Array
  /** What serving allows a rewrite, as far as the sequence has room. */
  readonly maxTokens: number
}

const promptOf = ({ tokenizer, chatTemplate, dateString }: Codec, format: SampleFormat, input: string): Int32Array =>
  tokenizer.encode(chatTemplate.render(promptMessages(format, input), { addGenerationPrompt: true, dateString }))

/** The tokens of an example's answer, without its end of turn. */
export const answerTokens = ({ tokens, promptTokens }: Example): Int32Array => tokens.subarray(promptTokens, -1)

/**
 * The fixed, seeded texts of a run, each the first of a shuffle that fit whole into `capacity` tokens: half of the `count` written by
 * machines, which is what the adapter is for, as far as the dataset keeps such texts, the others held-out rows.
 */
export async function chooseSamples(
  rows: AsyncIterable<Row>,
  machineTexts: AsyncIterable<MachineText>,
  codec: Codec,
  format: SampleFormat,
  capacity: number,
  count: number,
  seed: number,
): Promise<Sample[]> {
  if (count === 0) return []
  const byMachines = await choose(machineTexts, Math.floor(count / 2), seed, ({ id, text }) => {
    const prompt = promptOf(codec, format, text)
    const textTokens = codec.tokenizer.encode(text).length
    const room = capacity - prompt.length
    if (room < textTokens) return undefined
    const maxTokens = Math.min(rewriteTokens(textTokens), room)
    return { id, input: text, human: undefined, humanTokens: new Int32Array(), prompt, maxTokens }
  })
  const heldOut = await choose(rows, count - byMachines.length, seed, ({ id, input, target }) => {
    const example = renderExample(codec, format, { id, input, target, trainsOnInput: false })
    if (example.tokens.length > capacity) return undefined
    const prompt = example.tokens.slice(0, example.promptTokens)
    const maxTokens = Math.min(rewriteTokens(codec.tokenizer.encode(input).length), capacity - prompt.length)
    return { id, input, human: target, humanTokens: answerTokens(example), prompt, maxTokens }
  })
  return [...heldOut, ...byMachines]
}

async function choose<T>(
  items: AsyncIterable<T>,
  count: number,
  seed: number,
  sampleOf: (item: T) => Sample | undefined,
): Promise<Sample[]> {
  if (count === 0) return []
  const all: T[] = []
  for await (const item of items) all.push(item)
  const chosen: Sample[] = []
  for (const item of shuffled(all, seed, 'samples')) {
    if (chosen.length === count) break
    const sample = sampleOf(item)
    if (sample !== undefined) chosen.push(sample)
  }
  return chosen
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
  const prompt = promptOf(codec, format, '')
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
