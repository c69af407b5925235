import type { Server } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { baseName, DIGEST_HEADER } from '../serve/answering.ts'
import { modelRoutes, statusRoutes } from '../serve/endpoint.ts'
import { ApiError, invalid, modelNotFound, notReady } from '../serve/errors.ts'
import type { Health } from '../serve/health.ts'
import { createHttpServer, type Exchange, type Route } from '../serve/http.ts'
import type { Lease } from '../serve/lease.ts'
import type { Metrics } from '../serve/metrics.ts'
import type { Release } from '../serve/release.ts'
import { parseRewrite } from '../serve/request.ts'
import { rewriteFormat } from '../serve/rewrite.ts'
import { nameDigest } from '../serve/switch.ts'
import { promptMessages, templateDate } from '../train/example.ts'
import type { VllmAdapter } from './adapter.ts'
import type { VllmClient } from './client.ts'
import type { Keeper } from './keeper.ts'
import { renamed } from './rename.ts'

/** What requests are answered with. */
export interface VllmAnswering {
  readonly client: VllmClient
  readonly release: Release<VllmAdapter>
  /** Name that clients send; it follows switches. */
  readonly modelName: string
  /** vLLM's name of the base. */
  readonly vllmBase: string
  /** The prompt of a text, by the template that the adapter was trained with. */
  readonly prompt: (messages: ReturnType<typeof promptMessages>, lease: Lease<VllmAdapter>, date: string) => string
  readonly keeper: Keeper
  readonly metrics: Metrics
  readonly health: Health
}

/** The endpoint of a pod whose vLLM computes: the release's name in a request becomes the adapter's, and back in the answer. */
export function createVllmEndpoint(answering: VllmAnswering, draining: AbortSignal, log: Logger): Server {
  const { metrics, release, keeper } = answering
  const forward = (path: string): Route => ({
    method: 'POST',
    path,
    answer: (exchange) => forwarded(answering, exchange, path),
  })
  const routes: Route[] = [
    forward('/v1/chat/completions'),
    forward('/v1/completions'),
    { method: 'POST', path: '/v1/rewrite', answer: (exchange) => rewritten(answering, exchange) },
    ...modelRoutes(() => models(answering)),
    ...statusRoutes(release, metrics, draining, () => keeper.holds),
  ]
  const observe = (route: string, code: number, seconds: number): void => {
    metrics.requests.inc({ route, code })
    metrics.duration.observe({ route }, seconds)
  }
  return createHttpServer(routes, observe, log, draining)
}

function models({ release, modelName }: VllmAnswering): { readonly id: string; readonly [field: string]: unknown }[] {
  if (!release.serving) return []
  const { digest } = release.state()
  const common = { object: 'model', owned_by: 'humanizer' }
  return [
    {
      id: modelName,
      ...common,
      root: digest || baseName(modelName),
      parent: baseName(modelName),
      digest: nameDigest(digest),
    },
    { id: baseName(modelName), ...common, root: baseName(modelName), parent: null, digest: nameDigest('') },
  ]
}

/** Holds what serves now until the whole request is answered: vLLM keeps the adapter that long, whatever is switched to meanwhile. */
async function withLease(
  answering: VllmAnswering,
  exchange: Exchange,
  requested: unknown,
  use: (lease: Lease<VllmAdapter>, vllmName: string, model: string) => Promise<void>,
): Promise<void> {
  const { release, modelName, vllmBase, health } = answering
  const model = requested ?? modelName
  if (model !== modelName && model !== baseName(modelName)) throw modelNotFound(String(model))
  const lease = release.lease(model === modelName)
  if (!lease) {
    health.turnedAway()
    throw notReady('The model is being loaded; try again shortly.')
  }
  const used = model === modelName ? lease : { ...lease, digest: '', adapter: undefined }
  exchange.response.setHeader(DIGEST_HEADER, nameDigest(used.digest))
  try {
    await use(used, used.adapter?.name ?? vllmBase, model)
    health.ended(used.digest, exchange.response.statusCode >= 500)
  } catch (error) {
    if (!exchange.signal.aborted) health.ended(used.digest, !(error instanceof ApiError && error.status < 500))
    throw error
  } finally {
    lease.release()
  }
}

/** How often a request is asked of a vLLM that starts again and again, and how long it waits each time for its adapter to be there, in milliseconds. */
const tries = 3
const restoreMilliseconds = 30_000

/** vLLM's answer. 404 is what it says of an adapter that it has lost with its container: the request waits until it is loaded again. */
async function ask(
  { client, health, keeper }: VllmAnswering,
  { signal }: Exchange,
  { digest, adapter }: Lease<VllmAdapter>,
  path: string,
  body: object,
): Promise<Response> {
  for (let left = tries; left > 0; left--) {
    const began = performance.now()
    const answer = await client.post(path, body, signal).catch((error: Error) => {
      if (signal.aborted) throw error
      throw notReady('vLLM does not answer; try again shortly.')
    })
    if (answer.status !== 404 || !adapter) {
      health.firstToken(digest, (performance.now() - began) / 1000)
      return answer
    }
    await answer.body?.cancel()
    await restored(keeper, adapter, signal)
  }
  throw notReady('vLLM loses its adapter again and again; try again shortly.')
}

async function restored(keeper: Keeper, adapter: VllmAdapter, signal: AbortSignal): Promise<void> {
  const done = new AbortController()
  const limit = sleep(restoreMilliseconds, undefined, { signal: AbortSignal.any([signal, done.signal]) }).then(() => {
    throw new Error('its time is over')
  })
  await Promise.race([keeper.restore(adapter), limit])
    .catch((error: Error) => {
      if (signal.aborted) throw error
      throw notReady(`vLLM has lost the adapter, which is not loaded again yet: ${error.message}`)
    })
    .finally(() => done.abort())
}

async function forwarded(answering: VllmAnswering, exchange: Exchange, path: string): Promise<void> {
  const body = await exchange.body()
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw invalid('body', 'The body is not a JSON object.')
  const { model: requested, ...request } = body as Record<string, unknown>
  await withLease(answering, exchange, requested, async (lease, vllmName, model) => {
    // A template in a request is a program of the client's: vLLM takes only ours.
    if ('chat_template' in request) throw invalid('chat_template', "'chat_template' is not supported.")
    const template = path.includes('chat') && lease.chatTemplate ? { chat_template: lease.chatTemplate } : {}
    const answer = await ask(answering, exchange, lease, path, { ...request, ...template, model: vllmName })
    const type = answer.headers.get('content-type') ?? 'application/json'
    const { response } = exchange
    response.writeHead(answer.status, { 'content-type': type })
    if (!answer.body) return void response.end()
    try {
      for await (const piece of renamed(Readable.fromWeb(answer.body as never), type, model)) {
        if (!response.write(piece))
          await new Promise((resolve) => response.once('drain', resolve).once('close', resolve))
      }
      response.end()
    } catch (error) {
      response.destroy() // half an answer must not look like a whole one
      throw error
    }
  })
}

async function rewritten(answering: VllmAnswering, exchange: Exchange): Promise<void> {
  const body = (await exchange.body()) as Record<string, unknown>
  const { model: requested, text, maxTokens } = parseRewrite(body)
  await withLease(answering, exchange, requested, async (lease, vllmName, model) => {
    const messages = promptMessages(rewriteFormat(lease.format), text)
    const { temperature = 0, top_p, seed, stop } = body
    const answer = await ask(answering, exchange, lease, '/v1/completions', {
      ...{ temperature, top_p, seed, stop, model: vllmName },
      prompt: answering.prompt(messages, lease, lease.templateDate ?? templateDate),
      // The template wrote the special tokens already.
      add_special_tokens: false,
      max_tokens: maxTokens ?? likelyTokens(text),
    })
    const said = (await answer.json()) as {
      choices?: { text: string; finish_reason: string }[]
      usage?: object
      error?: object
    }
    const [choice] = said.choices ?? []
    if (!answer.ok || !choice) return exchange.json(answer.ok ? 502 : answer.status, said)
    const { text: written, finish_reason } = choice
    exchange.json(200, { text: written, model, digest: nameDigest(lease.digest), finish_reason, usage: said.usage })
  })
}

/** Twice the text and room for a short one to grow, at three characters a token. */
const likelyTokens = (text: string): number => 2 * Math.ceil(text.length / 3) + 64
