import type { Message } from '../model/chat-template.ts'
import { Fields } from './fields.ts'
import type { Sampling } from './sampler.ts'

/** What the three generating routes have in common, checked and with OpenAI's defaults. */
export interface GenerationRequest {
  readonly model: string | undefined
  /** Choices per prompt. */
  readonly n: number
  /** undefined: as many as the context holds (chat, completions) or twice the text (rewrite). */
  readonly maxTokens: number | undefined
  readonly sampling: Sampling
  /** undefined: the server draws one. */
  readonly seed: number | undefined
  readonly stops: readonly string[]
  readonly stream: boolean
  readonly includeUsage: boolean
}

export interface ChatRequest extends GenerationRequest {
  readonly messages: readonly Message[]
}

export interface CompletionRequest extends GenerationRequest {
  /** Text, or token ids as the client encoded them. */
  readonly prompts: readonly (string | readonly number[])[]
}

export interface RewriteRequest extends GenerationRequest {
  readonly text: string
}

/** Choices of one request at most; each takes a slot of the batch. */
export const MAX_CHOICES = 16
const MAX_STOPS = 4
const MAX_TOP_LOGPROBS = 20

export function parseChat(body: unknown): ChatRequest {
  const fields = new Fields(body)
  const model = fields.requiredString('model')
  const messages = parseMessages(fields)
  const wantsLogprobs = fields.boolean('logprobs') ?? false
  const top = fields.number('top_logprobs', { minimum: 0, maximum: MAX_TOP_LOGPROBS, integer: true })
  if (top !== undefined && !wantsLogprobs) {
    throw fields.wrong('top_logprobs', "'top_logprobs' is only allowed when 'logprobs' is true.")
  }
  const completion = maxTokensOf(fields, 'max_completion_tokens')
  const maxTokens = completion ?? maxTokensOf(fields, 'max_tokens')
  fields.ignore('max_tokens', 'modalities', 'prediction', 'reasoning_effort', 'verbosity', 'parallel_tool_calls')
  fields.refuse('tools', isEmptyArray)
  fields.refuse('functions', isEmptyArray)
  fields.refuse('tool_choice', (value) => value === 'none' || value === 'auto')
  fields.refuse('function_call', (value) => value === 'none' || value === 'auto')
  fields.refuse('response_format', (value) => (value as { type?: unknown }).type === 'text')
  fields.refuse('audio', () => false)
  return { ...common(fields, 1, wantsLogprobs ? (top ?? 0) : undefined), model, messages, maxTokens }
}

export function parseCompletion(body: unknown): CompletionRequest {
  const fields = new Fields(body)
  const model = fields.requiredString('model')
  const prompts = parsePrompts(fields)
  const top = fields.number('logprobs', { minimum: 0, maximum: MAX_TOP_LOGPROBS, integer: true })
  const maxTokens = maxTokensOf(fields, 'max_tokens') ?? 16
  fields.refuse('echo', (value) => value === false)
  fields.refuse('suffix', (value) => value === '')
  fields.refuse('best_of', (value) => value === (fields.raw('n') ?? 1))
  const request = { ...common(fields, 1, top), model, prompts, maxTokens }
  if (prompts.length * request.n > MAX_CHOICES) {
    throw fields.wrong(
      'prompt',
      `${prompts.length} prompts of ${request.n} choices are ${prompts.length * request.n} answers, expected at most ${MAX_CHOICES}.`,
    )
  }
  return request
}

/** Greedy unless a temperature is given: the same text and adapter then give the same answer. */
export function parseRewrite(body: unknown): RewriteRequest {
  const fields = new Fields(body)
  const text = fields.requiredString('text')
  if (text.trim() === '') throw fields.wrong('text', "'text' is empty, expected the text to rewrite.")
  const model = fields.string('model')
  const maxTokens = maxTokensOf(fields, 'max_tokens')
  fields.refuse('stream', (value) => value === false)
  fields.refuse('n', (value) => value === 1)
  return { ...common(fields, 0, undefined), model, text, maxTokens }
}

function common(
  fields: Fields,
  defaultTemperature: number,
  topLogprobs: number | undefined,
): Omit<GenerationRequest, 'model' | 'maxTokens'> {
  const stream = fields.boolean('stream') ?? false
  const request = {
    n: fields.number('n', { minimum: 1, maximum: MAX_CHOICES, integer: true }) ?? 1,
    seed: fields.number('seed', {
      minimum: Number.MIN_SAFE_INTEGER,
      maximum: Number.MAX_SAFE_INTEGER,
      integer: true,
    }),
    sampling: {
      temperature: fields.number('temperature', { minimum: 0, maximum: 2 }) ?? defaultTemperature,
      topP: fields.number('top_p', { minimum: 0, maximum: 1 }) ?? 1,
      presencePenalty: fields.number('presence_penalty', { minimum: -2, maximum: 2 }) ?? 0,
      frequencyPenalty: fields.number('frequency_penalty', { minimum: -2, maximum: 2 }) ?? 0,
      topLogprobs,
    },
    stops: parseStops(fields),
    stream,
    includeUsage: parseIncludeUsage(fields, stream),
  }
  fields.refuse('logit_bias', (value) => typeof value === 'object' && Object.keys(value as object).length === 0)
  fields.ignore('user', 'metadata', 'store', 'service_tier', 'safety_identifier', 'prompt_cache_key')
  fields.finish()
  return request
}

function parseMessages(fields: Fields): Message[] {
  const messages = fields.raw('messages')
  if (messages === undefined) throw fields.missing('messages')
  if (!Array.isArray(messages)) throw fields.wrongType('messages', 'an array of objects')
  if (messages.length === 0) throw fields.wrong('messages', "'messages' is empty, expected at least one message.")
  return messages.map((value, index) => parseMessage(new Fields(value, `messages[${index}]`)))
}

function parseMessage(fields: Fields): Message {
  const role = fields.requiredString('role')
  if (role !== 'system' && role !== 'developer' && role !== 'user' && role !== 'assistant') {
    throw fields.wrong(
      'role',
      `'${role}' is not a role this server knows, expected system, developer, user or assistant.`,
    )
  }
  const content = fields.raw('content')
  fields.refuse('tool_calls', isEmptyArray)
  fields.refuse('function_call', () => false)
  fields.ignore('name', 'refusal', 'annotations')
  fields.finish()
  return { role: role === 'developer' ? 'system' : role, content: parseContent(fields, content) }
}

function parseContent(fields: Fields, content: unknown): string {
  if (typeof content === 'string') return content
  if (content === undefined) throw fields.missing('content')
  if (!Array.isArray(content)) throw fields.wrongType('content', 'a string or an array of text parts')
  return content
    .map((part: unknown) => {
      const { type, text } = (part ?? {}) as { type?: unknown; text?: unknown }
      if (type === 'text' && typeof text === 'string') return text
      throw fields.wrong('content', "A content part is not of type 'text', the only one this server reads.")
    })
    .join('')
}

function parsePrompts(fields: Fields): (string | number[])[] {
  const prompt = fields.raw('prompt')
  if (prompt === undefined) throw fields.missing('prompt')
  if (typeof prompt === 'string') return [prompt]
  if (isTokens(prompt)) return [prompt]
  if (Array.isArray(prompt) && prompt.length > 0) {
    if (prompt.every((entry) => typeof entry === 'string') || prompt.every(isTokens)) return prompt
  }
  throw fields.wrongType('prompt', 'a string, an array of strings, an array of token ids or an array of those')
}

function parseStops(fields: Fields): string[] {
  const stop = fields.raw('stop')
  if (stop === undefined) return []
  const stops: unknown[] = Array.isArray(stop) ? stop : [stop]
  if (!stops.every((entry) => typeof entry === 'string')) {
    throw fields.wrongType('stop', 'a string or an array of strings')
  }
  if (stops.length > MAX_STOPS) {
    throw fields.wrong('stop', `'stop' has ${stops.length} entries, expected at most ${MAX_STOPS}.`)
  }
  return stops.filter((entry) => entry !== '')
}

function parseIncludeUsage(fields: Fields, stream: boolean): boolean {
  const options = fields.raw('stream_options')
  if (options === undefined) return false
  if (!stream) throw fields.wrong('stream_options', "'stream_options' is only allowed when 'stream' is true.")
  const inner = new Fields(options, 'stream_options')
  inner.ignore('include_obfuscation')
  const includeUsage = inner.boolean('include_usage') ?? false
  inner.finish()
  return includeUsage
}

function maxTokensOf(fields: Fields, name: string): number | undefined {
  return fields.number(name, { minimum: 1, maximum: Number.MAX_SAFE_INTEGER, integer: true })
}

function isTokens(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id) && id >= 0)
}

function isEmptyArray(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0
}
