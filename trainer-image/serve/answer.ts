import type { SampledToken, TokenLogprob } from '../native/index.ts'
import type { FinishReason } from './generation.ts'

/** What every object of one answer repeats. */
export interface AnswerHead {
  readonly id: string
  /** Seconds since 1970. */
  readonly created: number
  readonly model: string
  /** Names the base and adapter that produced it. */
  readonly systemFingerprint: string
}

export interface Usage {
  readonly promptTokens: number
  readonly completionTokens: number
}

/** A finished choice, or in a stream the next part of one. */
export interface ChoicePart {
  readonly index: number
  readonly text: string
  /** Tokens with log-probabilities; undefined when none were asked for. */
  readonly tokens: readonly SampledToken[] | undefined
  readonly finish: FinishReason | undefined
  /** Characters of the choice before this part. */
  readonly offset: number
}

/** The text of one token, for log-probabilities. */
export type TokenText = (id: number) => string

/** How one of OpenAI's two routes writes its answers. Pure. */
export interface Dialect {
  readonly idPrefix: string
  whole(head: AnswerHead, choices: readonly ChoicePart[], usage: Usage, tokenText: TokenText): object
  /** The chunk that opens a choice in a stream, where the route has one. */
  opening(head: AnswerHead, index: number): object | undefined
  part(head: AnswerHead, part: ChoicePart, tokenText: TokenText): object
  /** The last chunk, without choices. */
  usage(head: AnswerHead, usage: Usage): object
}

export const chatDialect: Dialect = {
  idPrefix: 'chatcmpl-',
  whole: (head, choices, usage, tokenText) => ({
    ...envelope(head, 'chat.completion'),
    choices: choices.map(({ index, text, tokens, finish }) => ({
      index,
      message: { role: 'assistant', content: text, refusal: null },
      logprobs: chatLogprobs(tokens, tokenText),
      finish_reason: finish ?? null,
    })),
    usage: usageObject(usage),
  }),
  opening: (head, index) => ({
    ...envelope(head, 'chat.completion.chunk'),
    choices: [{ index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }],
  }),
  part: (head, { index, text, tokens, finish }, tokenText) => ({
    ...envelope(head, 'chat.completion.chunk'),
    choices: [
      {
        index,
        delta: text === '' ? {} : { content: text },
        logprobs: chatLogprobs(tokens, tokenText),
        finish_reason: finish ?? null,
      },
    ],
  }),
  usage: (head, usage) => ({ ...envelope(head, 'chat.completion.chunk'), choices: [], usage: usageObject(usage) }),
}

export const completionDialect: Dialect = {
  idPrefix: 'cmpl-',
  whole: (head, choices, usage, tokenText) => ({
    ...envelope(head, 'text_completion'),
    choices: choices.map((choice) => completionChoice(choice, tokenText)),
    usage: usageObject(usage),
  }),
  opening: () => undefined,
  part: (head, part, tokenText) => ({
    ...envelope(head, 'text_completion'),
    choices: [completionChoice(part, tokenText)],
  }),
  usage: (head, usage) => ({ ...envelope(head, 'text_completion'), choices: [], usage: usageObject(usage) }),
}

export function usageObject({ promptTokens, completionTokens }: Usage): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  }
}

function envelope({ id, created, model, systemFingerprint }: AnswerHead, object: string): object {
  return { id, object, created, model, system_fingerprint: systemFingerprint }
}

function completionChoice({ index, text, tokens, finish, offset }: ChoicePart, tokenText: TokenText): object {
  return { index, text, logprobs: completionLogprobs(tokens, tokenText, offset), finish_reason: finish ?? null }
}

function chatLogprobs(tokens: readonly SampledToken[] | undefined, tokenText: TokenText): object | null {
  if (!tokens) return null
  const entry = ({ id, logprob }: TokenLogprob) => ({ token: tokenText(id), logprob, bytes: bytesOf(tokenText(id)) })
  return {
    content: tokens.map(({ id, logprob = 0, top }) => ({ ...entry({ id, logprob }), top_logprobs: top.map(entry) })),
    refusal: null,
  }
}

/** OpenAI's older form: parallel arrays. */
function completionLogprobs(
  tokens: readonly SampledToken[] | undefined,
  tokenText: TokenText,
  offset: number,
): object | null {
  if (!tokens) return null
  let position = offset
  return {
    tokens: tokens.map(({ id }) => tokenText(id)),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map(({ top }) => Object.fromEntries(top.map(({ id, logprob }) => [tokenText(id), logprob]))),
    text_offset: tokens.map(({ id }) => {
      const start = position
      position += tokenText(id).length
      return start
    }),
  }
}

/** null where the token alone is no whole UTF-8 text, as OpenAI's API allows. */
function bytesOf(text: string): number[] | null {
  return text.includes('\ufffd') ? null : [...Buffer.from(text)]
}
