import { randomBytes, randomInt } from 'node:crypto'
import { promptMessages } from '../train/example.ts'
import {
  type AnswerHead,
  type ChoicePart,
  chatDialect,
  completionDialect,
  type Dialect,
  usageObject,
} from './answer.ts'
import type { Base } from './base.ts'
import { ApiError, contextLengthExceeded, invalid, modelNotFound, notReady, queueFull } from './errors.ts'
import { Generation } from './generation.ts'
import type { Health } from './health.ts'
import type { Exchange } from './http.ts'
import type { Lease } from './lease.ts'
import type { Metrics } from './metrics.ts'
import type { Release } from './release.ts'
import { type GenerationRequest, parseChat, parseCompletion, parseRewrite } from './request.ts'
import { rewriteFormat, rewriteTokens } from './rewrite.ts'
import { QueueFull, type Scheduler } from './scheduler.ts'
import { eventStream } from './sse.ts'
import { nameDigest } from './switch.ts'

/** The digest of the adapter that produced the whole answer; "base" is the untouched base. */
export const DIGEST_HEADER = 'x-humanizer-adapter-digest'

/** The base is in memory. */
export interface Engine {
  readonly base: Base
  readonly scheduler: Scheduler
}

export interface Answering {
  /** undefined while the base is being loaded. */
  engine(): Engine | undefined
  readonly release: Release
  readonly modelName: string
  /** Whether the untouched base can be asked for: not when an adapter is merged into the weights. */
  readonly hasBase: boolean
  readonly metrics: Metrics
  readonly health: Health
}

export async function answerChat(answering: Answering, exchange: Exchange): Promise<void> {
  const request = parseChat(await exchange.body())
  await withLease(answering, exchange, request.model, async (engine, lease, model) => {
    const prompt = engine.base.renderChat(request.messages, lease)
    await answer({ answering, exchange, engine, lease, model, dialect: chatDialect, request, param: 'messages' }, [
      prompt,
    ])
  })
}

export async function answerCompletion(answering: Answering, exchange: Exchange): Promise<void> {
  const request = parseCompletion(await exchange.body())
  await withLease(answering, exchange, request.model, async (engine, lease, model) => {
    const prompts = request.prompts.map((prompt) => tokensOf(engine.base, prompt))
    const about = { answering, exchange, engine, lease, model, dialect: completionDialect, request, param: 'prompt' }
    await answer(about, prompts)
  })
}

/** The dataset's own prompt around the text; the answer's digest stands in the body too. */
export async function answerRewrite(answering: Answering, exchange: Exchange): Promise<void> {
  const request = parseRewrite(await exchange.body())
  await withLease(answering, exchange, request.model, async (engine, lease, model) => {
    const { base } = engine
    const prompt = base.renderChat(promptMessages(rewriteFormat(lease.format), request.text), lease)
    const room = base.contextTokens - prompt.length
    if (room < 1) throw contextLengthExceeded('text', base.contextTokens, prompt.length, 1)
    const maxTokens = request.maxTokens ?? Math.min(rewriteTokens(base.encode(request.text).length), room)
    const generation = newGeneration(engine, { ...request, maxTokens }, prompt, 0, 'text')
    const text = await collect(answering, exchange, engine, lease, [generation])
    exchange.json(200, {
      text: text[0]!.text,
      model,
      digest: nameDigest(lease.digest),
      finish_reason: generation.finish,
      usage: usageObject({ promptTokens: prompt.length, completionTokens: generation.completionTokens }),
    })
  })
}

interface About {
  readonly answering: Answering
  readonly exchange: Exchange
  readonly engine: Engine
  readonly lease: Lease
  readonly model: string
  readonly dialect: Dialect
  readonly request: GenerationRequest
  /** Field that holds the prompt. */
  readonly param: string
}

/** Holds the adapter that serves now until the whole request is answered, and names it in the answer's header. */
async function withLease(
  { engine, release, modelName, hasBase, health }: Answering,
  exchange: Exchange,
  requested: string | undefined,
  use: (engine: Engine, lease: Lease, model: string) => Promise<void>,
): Promise<void> {
  const model = requested ?? modelName
  if (model !== modelName && !(hasBase && model === baseName(modelName))) throw modelNotFound(model)
  const ready = engine()
  const lease = ready && release.lease(model === modelName)
  if (!lease) {
    health.turnedAway()
    throw notReady('The model is being loaded; try again shortly.')
  }
  const used = model === modelName ? lease : { ...lease, digest: '', adapter: undefined }
  exchange.response.setHeader(DIGEST_HEADER, nameDigest(used.digest))
  try {
    await use(ready, used, model)
    health.ended(used.digest, false)
  } catch (error) {
    if (!exchange.signal.aborted) health.ended(used.digest, !(error instanceof ApiError && error.status < 500))
    throw error
  } finally {
    lease.release()
  }
}

/** The name under which the untouched base answers beside a release. */
export const baseName = (modelName: string): string => `${modelName}@base`

async function answer(about: About, prompts: readonly Int32Array[]): Promise<void> {
  const { answering, exchange, engine, lease, request, dialect, model, param } = about
  const generations = prompts.flatMap((prompt, index) =>
    Array.from({ length: request.n }, (_, choice) =>
      newGeneration(engine, request, prompt, index * request.n + choice, param),
    ),
  )
  const head: AnswerHead = {
    id: dialect.idPrefix + randomBytes(12).toString('hex'),
    created: Math.floor(Date.now() / 1000),
    model,
    systemFingerprint: fingerprint(engine.base.identity.digest, lease.digest),
  }
  const usage = () => ({
    promptTokens: prompts.reduce((sum, prompt) => sum + prompt.length, 0),
    completionTokens: generations.reduce((sum, { completionTokens }) => sum + completionTokens, 0),
  })
  if (!request.stream) {
    const choices = await collect(answering, exchange, engine, lease, generations)
    exchange.json(200, dialect.whole(head, choices, usage(), engine.base.tokenText))
    return
  }
  const stream = eventStream(exchange.response)
  await run(answering, exchange, engine, lease, generations, (part, first) => {
    const opening = first ? dialect.opening(head, part.index) : undefined
    const usageField = request.includeUsage ? { usage: null } : {}
    if (opening) stream.send({ ...opening, ...usageField })
    if (part.text !== '' || part.finish || part.tokens) {
      stream.send({ ...dialect.part(head, part, engine.base.tokenText), ...usageField })
    }
  })
  if (request.includeUsage) stream.send(dialect.usage(head, usage()))
  stream.end()
}

async function collect(
  answering: Answering,
  exchange: Exchange,
  engine: Engine,
  lease: Lease,
  generations: readonly Generation[],
): Promise<ChoicePart[]> {
  const choices: ChoicePart[] = []
  await run(answering, exchange, engine, lease, generations, (part) => {
    const { text = '', tokens } = choices[part.index] ?? {}
    const all = part.tokens && [...(tokens ?? []), ...part.tokens]
    choices[part.index] = { index: part.index, text: text + part.text, tokens: all, finish: part.finish, offset: 0 }
  })
  return choices
}

/** Generates all choices together; `onPart` sees each part as it comes, and whether it is the first of its choice. */
async function run(
  { metrics, health }: Answering,
  { signal }: Exchange,
  { scheduler }: Engine,
  { adapter, digest }: Lease,
  generations: readonly Generation[],
  onPart: (part: ChoicePart, first: boolean) => void,
): Promise<void> {
  const began = performance.now()
  let started = false
  const jobs = generations.map((generation, index) => {
    let offset = 0
    const wantsLogprobs = generation.options.sampling.topLogprobs !== undefined
    return {
      adapter,
      generation,
      onPiece: ({ text, token, finish }: ReturnType<Generation['accept']>) => {
        if (!started) {
          const seconds = (performance.now() - began) / 1000
          metrics.firstToken.observe(seconds)
          health.firstToken(digest, seconds)
        }
        started = true
        onPart(
          { index, text, tokens: wantsLogprobs ? [token] : undefined, finish, offset },
          generation.completionTokens === 1,
        )
        offset += text.length
      },
    }
  })
  try {
    await scheduler.run(jobs, signal)
  } catch (error) {
    throw error instanceof QueueFull ? queueFull(error.message) : error
  }
  for (const { options, completionTokens } of generations) {
    metrics.tokens.inc({ kind: 'prompt' }, options.prompt.length)
    metrics.tokens.inc({ kind: 'completion' }, completionTokens)
  }
}

function newGeneration(
  { base }: Engine,
  request: GenerationRequest,
  prompt: Int32Array,
  choice: number,
  param: string,
): Generation {
  const room = base.contextTokens - prompt.length
  const maxTokens = request.maxTokens ?? room
  if (maxTokens > room || room < 1) {
    throw contextLengthExceeded(param, base.contextTokens, prompt.length, Math.max(maxTokens, 1))
  }
  return new Generation({
    prompt,
    maxTokens,
    sampling: request.sampling,
    seed: request.seed ?? randomInt(2 ** 47),
    choice,
    stops: request.stops,
    endIds: base.endIds,
    text: base.textStream(),
  })
}

function tokensOf(base: Base, prompt: string | readonly number[]): Int32Array {
  const tokens = typeof prompt === 'string' ? base.encode(prompt) : prompt
  if (tokens.length === 0) throw invalid('prompt', "'prompt' is empty, expected at least one token.")
  const foreign = tokens.find((id) => id >= base.vocabularySize)
  if (foreign === undefined) return Int32Array.from(tokens)
  throw invalid('prompt', `'prompt' has the token id ${foreign}, expected ids below ${base.vocabularySize}.`)
}

function fingerprint(baseDigest: string, adapterDigest: string): string {
  const short = (digest: string) => digest.replace('sha256:', '').slice(0, 8)
  return `fp_${short(baseDigest)}${adapterDigest === '' ? '' : `_${short(adapterDigest)}`}`
}
