import type { Server } from 'node:http'
import type { Logger } from 'pino'
import { ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import { type Answering, answerChat, answerCompletion, answerRewrite, baseName } from './answering.ts'
import { modelNotFound } from './errors.ts'
import { createHttpServer, type Route } from './http.ts'
import type { Closable } from './lease.ts'
import type { Metrics } from './metrics.ts'
import type { Release } from './release.ts'
import { nameDigest } from './switch.ts'

/** The HTTP endpoint of a serving pod. `draining` aborts when the pod was told to leave. */
export function createEndpoint(answering: Answering, draining: AbortSignal, log: Logger): Server {
  const { metrics } = answering
  const observe = (route: string, code: number, seconds: number): void => {
    metrics.requests.inc({ route, code })
    metrics.duration.observe({ route }, seconds)
  }
  return createHttpServer(routes(answering, draining), observe, log, draining)
}

function routes(answering: Answering, draining: AbortSignal): Route[] {
  const { release, metrics } = answering
  return [
    { method: 'POST', path: '/v1/chat/completions', answer: (exchange) => answerChat(answering, exchange) },
    { method: 'POST', path: '/v1/completions', answer: (exchange) => answerCompletion(answering, exchange) },
    { method: 'POST', path: '/v1/rewrite', answer: (exchange) => answerRewrite(answering, exchange) },
    ...modelRoutes(() => models(answering)),
    ...statusRoutes(release, metrics, draining),
  ]
}

/** What is there to ask for. */
export function modelRoutes(models: () => readonly { readonly id: string }[]): Route[] {
  return [
    {
      method: 'GET',
      path: '/v1/models',
      answer: ({ json }) => json(200, { object: 'list', data: models() }),
    },
    {
      method: 'GET',
      path: '/v1/models/*',
      answer: ({ json, rest }) => {
        const found = models().find(({ id }) => id === rest)
        if (!found) throw modelNotFound(rest)
        json(200, found)
      },
    },
  ]
}

/** What the kubelet, the operator and Prometheus ask. `holds`: whether what was loaded is still there. */
export function statusRoutes(
  release: Release<Closable>,
  metrics: Metrics,
  draining: AbortSignal,
  holds: () => boolean = () => true,
): Route[] {
  return [
    { method: 'GET', path: '/healthz', answer: ({ text }) => text(200, 'text/plain; charset=utf-8', 'ok\n') },
    {
      method: 'GET',
      path: '/readyz',
      answer: ({ json }) =>
        json(release.serving && holds() && !draining.aborted ? 200 : 503, ServingState.toJSON(release.state())),
    },
    {
      method: 'GET',
      path: '/metrics',
      answer: async ({ text }) => text(200, metrics.registry.contentType, await metrics.registry.metrics()),
    },
  ]
}

interface ModelObject {
  readonly id: string
  readonly object: 'model'
  /** Seconds since 1970 when it was loaded. */
  readonly created: number
  readonly owned_by: string
  /** What it is made from: the base's name, or the adapter's digest. */
  readonly root: string
  /** The model an adapter sits on; null for the base itself. */
  readonly parent: string | null
  readonly digest: string
  readonly max_model_len: number
}

/** The release under its own name, which follows switches, and the untouched base; nothing while nothing serves. */
function models({ engine, release, modelName, hasBase }: Answering): ModelObject[] {
  const base = engine()?.base
  if (!base || !release.serving) return []
  const { digest, loadedTime } = release.state()
  const common = {
    object: 'model' as const,
    created: Math.floor(Date.parse(loadedTime) / 1000),
    owned_by: 'humanizer',
    max_model_len: base.contextTokens,
  }
  const root = digest === '' ? base.name : digest
  const named = { id: modelName, ...common, root, digest: nameDigest(digest) }
  if (!hasBase) return [{ ...named, parent: null }]
  return [
    { ...named, parent: baseName(modelName) },
    { id: baseName(modelName), ...common, root: base.name, parent: null, digest: nameDigest('') },
  ]
}
