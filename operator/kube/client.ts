import { HttpMethod, IsomorphicFetchHttpLibrary, KubeConfig, RequestContext, Watch } from '@kubernetes/client-node'
import { errorFrom, Unavailable } from './errors.ts'
import type { Metrics } from './metrics.ts'

type Verb = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

interface RequestOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: unknown
  readonly contentType?: string
  /** Overrides the client's timeout. */
  readonly timeoutMs?: number
}

/** One line of a watch. */
interface WatchLine {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  readonly object: unknown
}

type Dispatcher = NonNullable<ReturnType<RequestContext['getDispatcher']>>

const POOL_LIFE_MS = 600_000

/**
 * client-node makes a new connection pool, and so a new TLS handshake, for every request. This one keeps the pool: one
 * HTTP/2 connection that all requests share. It makes a new one when a request got no answer, because a connection that
 * fell silent would swallow the next requests too, and every ten minutes, so that rotated certificates are taken up.
 */
class PooledKubeConfig extends KubeConfig {
  #pool: Dispatcher | undefined
  #madeAt = 0

  get pool(): Dispatcher | undefined {
    return this.#pool
  }

  override async applySecurityAuthentication(context: RequestContext): Promise<void> {
    await super.applySecurityAuthentication(context)
    if (performance.now() - this.#madeAt > POOL_LIFE_MS) this.retire(this.#pool)
    if (!this.#pool) {
      this.#pool = context.getDispatcher()
      this.#madeAt = performance.now()
    }
    if (this.#pool) context.setDispatcher(this.#pool)
  }

  /** No new request uses this pool; those under way get a minute. */
  retire(pool: Dispatcher | undefined): void {
    if (!pool || pool !== this.#pool) return
    this.#pool = undefined
    pool.close().catch(() => undefined)
    setTimeout(() => pool.destroy().catch(() => undefined), 60_000).unref()
  }
}

export type { PooledKubeConfig }

/** The in-cluster service account, or the kubeconfig (file or text) that is given. */
export function loadKubeConfig(from: { readonly file?: string; readonly text?: string } = {}): PooledKubeConfig {
  const config = new PooledKubeConfig()
  if (from.text !== undefined) config.loadFromString(from.text)
  else if (from.file !== undefined) config.loadFromFile(from.file)
  else config.loadFromCluster()
  return config
}

/** Plain JSON over the API server's REST paths, with typed errors and a deadline on every request. */
export class ApiClient {
  readonly #config: PooledKubeConfig
  readonly #http = new IsomorphicFetchHttpLibrary()
  readonly #timeoutMs: number
  readonly #metrics: Metrics | undefined

  /** timeoutMs bounds one writing request; a read may take five times as long. */
  constructor(config: PooledKubeConfig, options: { readonly timeoutMs: number; readonly metrics?: Metrics }) {
    this.#config = config
    this.#timeoutMs = options.timeoutMs
    this.#metrics = options.metrics
  }

  async request<T>(verb: Verb, path: string, options: RequestOptions = {}): Promise<T> {
    const cluster = this.#config.getCurrentCluster()
    if (!cluster) throw new Error('kubeconfig: no current cluster')
    const context = new RequestContext(cluster.server + path, HttpMethod[verb])
    for (const [name, value] of Object.entries(options.query ?? {}))
      if (value !== undefined) context.setQueryParam(name, String(value))
    context.setHeaderParam('accept', 'application/json')
    if (options.body !== undefined) {
      context.setHeaderParam('content-type', options.contentType ?? 'application/json')
      context.setBody(JSON.stringify(options.body))
    }
    const { code, text } = await this.#send(
      verb,
      path,
      context,
      options.timeoutMs ?? this.#timeoutMs * (verb === 'GET' ? 5 : 1),
    )
    this.#metrics?.apiCalls.inc({ verb, code })
    if (code < 200 || code > 299) throw errorFrom(code, text, `${verb} ${path}`)
    return JSON.parse(text) as T
  }

  async #send(verb: Verb, path: string, context: RequestContext, timeoutMs: number) {
    try {
      await this.#config.applySecurityAuthentication(context)
      context.setSignal(AbortSignal.timeout(timeoutMs))
      const response = await this.#http.send(context).toPromise()
      return { code: response.httpStatusCode, text: await response.body.text() }
    } catch (cause) {
      this.#config.retire(context.getDispatcher())
      this.#metrics?.apiCalls.inc({ verb, code: 0 })
      throw new Unavailable(0, `${verb} ${path}: ${reasonOf(cause)}`, { cause })
    }
  }

  /**
   * One watch request. Resolves when the server ends it; rejects with a typed error. `onLine` must not throw: client-node
   * swallows what it throws. Lines that arrive after the end are dropped.
   */
  async watch(
    path: string,
    query: Readonly<Record<string, string | number | boolean | undefined>>,
    onLine: (line: WatchLine) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    let ended = false
    const end = (cause: unknown) => {
      if (ended) return
      ended = true
      this.#metrics?.apiCalls.inc({ verb: 'WATCH', code: codeOf(cause) })
      if (cause === null || cause === undefined || signal.aborted) resolve()
      else if (codeOf(cause) > 0) reject(errorFrom(codeOf(cause), '', `WATCH ${path}`))
      else {
        this.#config.retire(pool)
        reject(new Unavailable(0, `WATCH ${path}: ${reasonOf(cause)}`, { cause }))
      }
    }
    const { pool } = this.#config
    const controller = await new Watch(this.#config).watch(
      path,
      { ...query },
      (type, object) => {
        if (!ended) onLine({ type: type as WatchLine['type'], object })
      },
      end,
    )
    const abort = () => controller.abort()
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    return promise.finally(() => signal.removeEventListener('abort', abort))
  }
}

const codeOf = (cause: unknown): number =>
  cause === null || cause === undefined ? 200 : ((cause as { statusCode?: number }).statusCode ?? 0)

/** undici says `fetch failed` and hides why. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}
