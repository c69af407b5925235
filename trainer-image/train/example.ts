import type { SampleFormat } from '#proto/humanizer/trainer/v1/preparation.ts'
import { JobFailure } from '../job/failure.ts'
import type { OpenedModel } from '../model/open.ts'

/** Label of a position whose next token is not trained on. */
export const ignoredLabel = -100

/** The day that chat templates see as today, at training and at serving: token ids must not change from day to day. */
export const templateDate = '26 Jul 2024'

/** How an example enters the model, and what of it is learnt. */
export interface Example {
  /** Of the row; pieces of one text share it. */
  readonly id: string
  readonly tokens: Int32Array
  /** labels[i] is the token after tokens[i] where that is trained on, else ignoredLabel. */
  readonly labels: Int32Array
  readonly promptTokens: number
  readonly labelTokens: number
}

/** Everything that turns a text into tokens; the same at training and at serving. */
export type Codec = Pick<OpenedModel, 'tokenizer' | 'chatTemplate' | 'generation'> & {
  /** The template's date, pinned so that token ids do not change from day to day. */
  readonly dateString: string
}

export interface Pair {
  readonly id: string
  readonly input: string
  readonly target: string
  /** Identity: the loss also counts the text inside the prompt, since copying it alone teaches nothing. */
  readonly trainsOnInput: boolean
}

type Message = Parameters<OpenedModel['chatTemplate']['render']>[0][number]

/** The messages before the answer; serving sends the same. */
export function promptMessages(format: SampleFormat, input: string): Message[] {
  const user: Message = { role: 'user', content: format.userTemplate.replaceAll('{text}', () => input) }
  return format.systemPrompt === '' ? [user] : [{ role: 'system', content: format.systemPrompt }, user]
}

/**
 * Prompt and answer are encoded apart, as serving sees them: it encodes the prompt and the model goes on from there.
 * Trained on: the answer and its end-of-turn token. What the template writes after that is left out.
 */
export function renderExample(codec: Codec, format: SampleFormat, pair: Pair): Example {
  const { tokenizer, chatTemplate, generation, dateString } = codec
  const messages = promptMessages(format, pair.input)
  const prompt = chatTemplate.render(messages, { addGenerationPrompt: true, dateString })
  const answer: Message = { role: 'assistant', content: pair.target }
  const whole = chatTemplate.render([...messages, answer], { addGenerationPrompt: false, dateString })
  if (!whole.startsWith(prompt))
    throw new JobFailure(
      'SourceInvalid',
      `the chat template writes an answer differently from its own generation prompt ("…${prompt.slice(-40)}"); expected the conversation to begin with it`,
    )
  const encodedPrompt = tokenizer.encodeWithOffsets(prompt)
  const completion = tokenizer.encode(whole.slice(prompt.length))
  const endsOfTurns = (tokens: Int32Array): number[] =>
    [...tokens.keys()].filter((i) => generation.endOfTurnIds.includes(tokens[i]!))
  // A template may write several after an answer, as Phi-3's does, and an answer may hold its own: the first after it counts.
  const ends = endsOfTurns(completion)
  const endOfTurn = ends[ends.length > 1 ? endsOfTurns(tokenizer.encode(pair.target)).length : 0]
  if (endOfTurn === undefined)
    throw new JobFailure(
      'SourceInvalid',
      `the chat template writes none of the end-of-turn tokens ${generation.endOfTurnIds.join(', ')} after an answer; without one the model never learns to stop`,
    )
  const promptTokens = encodedPrompt.ids.length
  const tokens = new Int32Array(promptTokens + endOfTurn + 1)
  tokens.set(encodedPrompt.ids)
  tokens.set(completion.subarray(0, endOfTurn + 1), promptTokens)

  const labels = new Int32Array(tokens.length).fill(ignoredLabel)
  for (let next = promptTokens; next < tokens.length; next++) labels[next - 1] = tokens[next]!
  if (pair.trainsOnInput) labelInput(labels, encodedPrompt, prompt, pair.input.trim())
  const labelTokens = labels.reduce((count, label) => (label === ignoredLabel ? count : count + 1), 0)
  return { id: pair.id, tokens, labels, promptTokens, labelTokens }
}

/** Labels the tokens of the prompt that lie wholly inside the input text. */
function labelInput(labels: Int32Array, encoded: { ids: Int32Array; ends: Int32Array }, prompt: string, text: string) {
  const begin = prompt.lastIndexOf(text)
  if (begin < 0) return // a template that rewrites its content; the answer alone is trained on
  const end = begin + text.length
  for (let next = 1; next < encoded.ids.length; next++)
    if (encoded.ends[next - 1]! >= begin && encoded.ends[next]! <= end) labels[next - 1] = encoded.ids[next]!
}
