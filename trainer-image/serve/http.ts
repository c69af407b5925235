import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import { ApiError, internal } from './errors.ts'

/** Bytes of a request body; beyond any context this server offers. */
export const MAX_BODY_BYTES = 8 << 20
/** A body that goes on beyond this is cut off instead of being read to its end. */
const MAX_DISCARDED_BYTES = 64 << 20
/** The status that logs and metrics give a request whose client left; it is never sent. */
const CLIENT_CLOSED_REQUEST = 499

/** One request and the way to answer it. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** What stood in the route's place of "*", decoded. */
  readonly rest: string
  /** Aborts when the client leaves before the answer is complete. */
  readonly signal: AbortSignal
  /** The JSON body. Throws 400 and 413. */
  body(): Promise<unknown>
  json(status: number, value: unknown): void
  text(status: number, contentType: string, value: string): void
}

export interface Route {
  readonly method: 'GET' | 'POST'
  /** A path, or one that ends in "/*". */
  readonly path: string
  answer(exchange: Exchange): Promise<void> | void
}

/** Told once per request, with the route's path and seconds since its arrival. */
export type Observe = (route: string, status: number, seconds: number) => void

/**
 * A JSON server over `routes`. Whatever a route throws becomes OpenAI's error object here, and only here.
 * Once `draining` aborts, every answer asks its client to close the connection.
 */
export function createHttpServer(
  routes: readonly Route[],
  observe: Observe,
  log: Logger,
  draining: AbortSignal,
): Server {
  return createServer((request, response) => {
    const began = performance.now()
    if (draining.aborted) response.setHeader('connection', 'close')
    const gone = new AbortController()
    let route = 'unknown'
    /** Of an answer that failed after its status line was sent. */
    let failure: number | undefined
    response.once('close', () => {
      if (!response.writableFinished) gone.abort(new Error('the client left'))
      const status = failure ?? response.statusCode
      observe(route, response.writableFinished ? status : CLIENT_CLOSED_REQUEST, seconds(began))
    })
    answer().catch((error) => fail(error))

    async function answer(): Promise<void> {
      const found = findRoute(routes, request.method ?? '', pathOf(request))
      route = found.route.path
      await found.route.answer(exchange(request, response, found.rest, gone.signal))
    }

    function fail(error: unknown): void {
      if (gone.signal.aborted || request.socket.destroyed) return
      if (!(error instanceof ApiError)) log.error({ err: error, route }, 'a request failed')
      const known = error instanceof ApiError ? error : internal()
      if (response.headersSent) {
        failure = known.status
        response.end(`data: ${JSON.stringify(known.body())}\n\n`)
        return
      }
      for (const [name, value] of Object.entries(known.headers)) response.setHeader(name, value)
      sendJson(response, known.status, known.body())
    }
  })
}

function exchange(request: IncomingMessage, response: ServerResponse, rest: string, signal: AbortSignal): Exchange {
  return {
    request,
    response,
    rest,
    signal,
    body: () => readJsonBody(request),
    json: (status, value) => sendJson(response, status, value),
    text: (status, contentType, value) => send(response, status, contentType, value),
  }
}

function findRoute(routes: readonly Route[], method: string, path: string): { route: Route; rest: string } {
  const matching = routes.flatMap((route) => {
    if (route.path === path) return [{ route, rest: '' }]
    const prefix = route.path.slice(0, -1)
    return route.path.endsWith('/*') && path.startsWith(prefix) && path.length > prefix.length
      ? [{ route, rest: decode(path.slice(prefix.length)) }]
      : []
  })
  const wanted = method === 'HEAD' ? 'GET' : method
  const found = matching.find(({ route }) => route.method === wanted)
  if (found) return found
  if (matching.length === 0) {
    throw new ApiError(404, `Unknown request URL: ${method} ${path}.`, { code: 'unknown_url' })
  }
  const allowed = matching.map(({ route }) => route.method).join(', ')
  const message = `${method} is not allowed on ${path}; expected ${allowed}.`
  throw new ApiError(405, message, { code: 'method_not_allowed', headers: { allow: allowed } })
}

const pathOf = (request: IncomingMessage): string => (request.url ?? '/').split('?', 1)[0]!

function decode(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    throw new ApiError(400, `The path is not valid percent-encoding: ${path}`, { code: 'invalid_url' })
  }
}

async function readJsonBody(request: IncomingMessage): Promise<unknown> {
  const bytes = await readBody(request)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new ApiError(400, 'The body is not valid UTF-8.', { code: 'invalid_json' })
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new ApiError(400, `We could not parse the JSON body of your request: ${why}`, { code: 'invalid_json' })
  }
}

/** Reads an oversized body to its end before it is refused: a client that is still sending would not read the answer. */
async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length <= MAX_BODY_BYTES) chunks.push(chunk)
    else if (length > MAX_DISCARDED_BYTES) break
  }
  if (length > MAX_BODY_BYTES) {
    const message = `The body has more than ${MAX_BODY_BYTES} bytes, the most this server reads.`
    throw new ApiError(413, message, { code: 'request_too_large' })
  }
  return Buffer.concat(chunks)
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  send(response, status, 'application/json; charset=utf-8', JSON.stringify(value))
}

function send(response: ServerResponse, status: number, contentType: string, text: string): void {
  const body = Buffer.from(text)
  response.writeHead(status, { 'content-type': contentType, 'content-length': body.length })
  response.end(body)
}

const seconds = (began: number): number => (performance.now() - began) / 1000
