/**
 * One HTTP download into one file: resumed by Range after any break, checked against a sum, retried with jitter when the network or the
 * server is at fault. The bytes lie in `<file>.part` until they are whole and right, so `file` exists only when it is.
 */
import { mkdir, open, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Headers, Response } from 'undici'
import { JobFailure } from '../job/failure.ts'
import { fetch } from '../service/fetch.ts'
import type { SharedContent } from '../storage/shared-content.ts'
import { type Downloaded, type ExpectedSum, mismatch, type Sums, sumFile, WrittenBytes } from './download-sums.ts'

/** How often and how patiently to try again; every field has a default that suits a Job. */
export interface RetryPolicy {
  /** Tries in a row without a single new byte before giving up; default 6. */
  readonly attempts?: number
  /** Longest wait before the second try, doubled each time up to 30 s; the wait itself is random. Default 1000. */
  readonly baseMilliseconds?: number
  /** A connection that brings nothing for this long is given up; default 60000. */
  readonly idleMilliseconds?: number
}

export interface HttpDownload {
  readonly url: string
  /** Where the finished file goes; its folder is made when missing. */
  readonly file: string
  readonly expected?: ExpectedSum
  /** Content with the expected sum is taken from here when it is there, and left here when it was downloaded. */
  readonly shared?: SharedContent | undefined
  /** Never sent to another origin that the server redirects to. */
  readonly bearerToken?: string
  readonly signal: AbortSignal
  /** Called after each chunk with the bytes present so far and, when the server said it, the size of the whole. */
  readonly onProgress?: (bytes: number, total: number | undefined) => void
  readonly retry?: RetryPolicy
}

/** Network or server trouble: the next try may do better. `afterMilliseconds` is what the server asked for. */
class Transient extends Error {
  readonly afterMilliseconds: number
  constructor(message: string, afterMilliseconds = 0, options?: ErrorOptions) {
    super(message, options)
    this.afterMilliseconds = afterMilliseconds
  }
}

const MAX_WAIT_MILLISECONDS = 30_000
const MAX_RETRY_AFTER_MILLISECONDS = 60_000
const IDLE_MILLISECONDS = 60_000

/**
 * Downloads `url` to `file`. Idempotent: what an earlier call or process left in `<file>.part` is continued, and a `file` that already has the
 * expected sum is not fetched again. Failures: AccessDenied (401,
 * 403), NotFound (404, 410), SourceInvalid (wrong bytes, other 4xx), Unavailable (network, 429, 5xx, after all tries), StorageFull; errors of the file system keep their codes, which job/failure.ts knows.
 */
export async function downloadHttp(download: HttpDownload): Promise<Downloaded> {
  const part = `${download.file}.part`
  await mkdir(dirname(download.file), { recursive: true })
  const { expected, shared } = download
  const sum = expected && ('sha256' in expected ? `sha256-${expected.sha256}` : `git-${expected.gitBlob}`).toLowerCase()
  if (expected && sum) {
    const taken = (await sizeOf(download.file)) === 0 && (await shared?.take(sum, download.file))
    if ((await sizeOf(download.file)) > 0) {
      const present = await sumFile(download.file, download.signal)
      if (!mismatch(present, expected)) {
        await shared?.give(sum, download.file)
        download.onProgress?.(present.bytes, present.bytes)
        return { sha256: present.sha256, bytes: present.bytes }
      }
    }
    if (taken) await shared?.drop(sum)
  }
  const resumed = (await sizeOf(part)) > 0
  const sums = await fetchWhole(part, download)
  const wrong = expected && mismatch(sums, expected)
  if (wrong) {
    await rm(part, { force: true })
    // What an earlier process left may be torn, or of other bytes: it says nothing about the server's.
    if (resumed) return downloadHttp(download)
    throw new JobFailure('SourceInvalid', `${withoutQuery(download.url)}: ${wrong}`)
  }
  await rename(part, download.file)
  await writeTag(part, undefined)
  if (sum) await shared?.give(sum, download.file)
  return { sha256: sums.sha256, bytes: sums.bytes }
}

async function fetchWhole(part: string, download: HttpDownload): Promise<Sums> {
  const written = new WrittenBytes(download.expected)
  await retrying(
    download,
    () => sizeOf(part),
    () => fetchInto(part, download, written),
  )
  return (await sizeOf(part)) === written.bytes ? written.sums() : sumFile(part, download.signal)
}

/** A small JSON answer, with the same errors and retries. `headers` are the answer's. */
export async function getJson(
  request: Pick<HttpDownload, 'url' | 'bearerToken' | 'signal' | 'retry'>,
): Promise<{ body: unknown; headers: Headers }> {
  return retrying(
    request,
    async () => 0,
    async () => {
      const silence = AbortSignal.timeout(request.retry?.idleMilliseconds ?? IDLE_MILLISECONDS)
      const response = await send(request, {}, AbortSignal.any([request.signal, silence]))
      try {
        return { body: (await response.json()) as unknown, headers: response.headers }
      } catch (error) {
        const problem = silence.aborted ? 'did not end in time' : `is not JSON: ${(error as Error).message}`
        throw new Transient(`the answer ${problem}`, 0, { cause: error })
      }
    },
  )
}

/** Runs `attempt` until it succeeds; a try after which `position` grew does not count. */
async function retrying<T>(
  { url, signal, retry }: Pick<HttpDownload, 'url' | 'signal' | 'retry'>,
  position: () => Promise<number>,
  attempt: () => Promise<T>,
): Promise<T> {
  const attempts = retry?.attempts ?? 6
  for (let failures = 0; ; ) {
    const before = await position()
    try {
      return await attempt()
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof Transient)) throw error
      failures = (await position()) > before ? 1 : failures + 1
      if (failures >= attempts)
        throw new JobFailure('Unavailable', `${withoutQuery(url)}: ${error.message} (${attempts} tries)`, {
          cause: error,
        })
      const backoff = Math.min((retry?.baseMilliseconds ?? 1000) * 2 ** (failures - 1), MAX_WAIT_MILLISECONDS)
      await sleep(Math.max(Math.random() * backoff, error.afterMilliseconds), undefined, { signal })
    }
  }
}

/** One request; resolves only with a 2xx or 416 answer. */
async function send(
  { url, bearerToken }: Pick<HttpDownload, 'url' | 'bearerToken'>,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Response> {
  const authorization: Record<string, string> = bearerToken ? { authorization: `Bearer ${bearerToken}` } : {}
  let response: Response
  try {
    const sent = { 'user-agent': 'humanizer', ...headers, ...authorization }
    response = await fetch(url, { headers: sent, signal })
  } catch (error) {
    const cause = (error as Error).cause
    throw new Transient(cause instanceof Error ? cause.message : (error as Error).message, 0, { cause: error })
  }
  if (response.ok || response.status === 416) return response
  await response.body?.cancel().catch(() => undefined)
  throw statusFailure(url, response)
}

function statusFailure(url: string, response: Response): Error {
  const { status, statusText, headers } = response
  // The Hub says in this header which of repository, revision or file is missing or gated.
  const detail = headers.get('x-error-message') ?? statusText
  const message = `${withoutQuery(url)} answered ${status}${detail ? `: ${detail.slice(0, 200)}` : ''}`
  if (status === 401 || status === 403) return new JobFailure('AccessDenied', message)
  if (status === 404 || status === 410) return new JobFailure('NotFound', message)
  if (status < 500 && ![408, 425, 429].includes(status)) return new JobFailure('SourceInvalid', message)
  return new Transient(`answered ${status}`, Math.min(millisecondsAskedFor(response), MAX_RETRY_AFTER_MILLISECONDS))
}

/** What follows a "?" may be a signature, and messages are read by more people than specs. */
export const withoutQuery = (url: string): string => url.replace(/\?.*/s, '')

/**
 * Retry-After in seconds or as a date (RFC 9110), else of a 429 what is left of the window in the Hub's RateLimit, such as `"api";r=0;t=55`; 0:
 * nothing asked. Other answers have that header, too, and tell by it only how many requests are left.
 */
function millisecondsAskedFor({ status, headers }: Response): number {
  const retry = headers.get('retry-after')
  const window = status === 429 ? /;\s*t=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1] : undefined
  const date = Date.parse(retry ?? '') - Date.now()
  const seconds = Number(retry ?? window ?? 0)
  return Math.max((Number.isNaN(seconds) ? date : seconds * 1000) || 0, 0)
}

/** Brings `part` from what it holds to the whole, or throws. */
async function fetchInto(part: string, download: HttpDownload, sums: WrittenBytes): Promise<void> {
  const held = await sizeOf(part)
  const idle = new AbortController()
  const timer = setTimeout(
    () => idle.abort(new Error('no data arrived')),
    download.retry?.idleMilliseconds ?? IDLE_MILLISECONDS,
  )
  const signal = AbortSignal.any([download.signal, idle.signal])
  try {
    // Without "identity" a server may compress, and then neither lengths nor ranges mean bytes of the file.
    const tag = held > 0 ? await readTag(part) : undefined
    const range: Record<string, string> = held > 0 ? { range: `bytes=${held}-`, ...(tag && { 'if-range': tag }) } : {}
    const response = await send(download, { 'accept-encoding': 'identity', ...range }, signal)
    const [, begin, total] = /^bytes (?:(\d+)-\d+|\*)\/(\d+)$/.exec(response.headers.get('content-range') ?? '') ?? []
    if (response.status === 416) {
      await response.body?.cancel()
      if (Number(total) === held) return
      await rm(part, { force: true })
      throw new Transient(`the server has no bytes from ${held}; starting over`)
    }
    const resumed = response.status === 206
    const tagNow = strongTag(response)
    if (resumed && tag !== undefined && tagNow !== undefined && tag !== tagNow) {
      await response.body?.cancel()
      await rm(part, { force: true })
      throw new Transient(`the server has another file now (ETag ${tagNow}, was ${tag}); starting over`)
    }
    if (!resumed) await writeTag(part, tagNow)
    if (resumed && Number(begin) !== held) throw new Transient(`asked for bytes from ${held}, got them from ${begin}`)
    const length = response.headers.get('content-length')
    const size = resumed ? Number(total) : length === null ? undefined : Number(length)
    await requireSpace(part, size === undefined ? 0 : size - (resumed ? held : 0))
    const written = await append(part, resumed, response, download, timer, size, sums)
    if (size !== undefined && written !== size)
      throw new Transient(`the connection ended at byte ${written} of ${size}`)
  } finally {
    clearTimeout(timer)
  }
}

/**
 * A strong ETag names the bytes that `part` began with. Sent as If-Range, so that a server that has others by now sends them whole; a weak
 * one says nothing about bytes.
 */
const strongTag = ({ headers }: Response): string | undefined => /^"[^"]*"$/.exec(headers.get('etag') ?? '')?.[0]
const tagFile = (part: string): string => `${part}.etag`

async function readTag(part: string): Promise<string | undefined> {
  const text = await readFile(tagFile(part), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  return /^"[^"\n]*"$/.test(text) ? text : undefined
}

const writeTag = (part: string, tag: string | undefined): Promise<void> =>
  tag === undefined ? rm(tagFile(part), { force: true }) : writeFile(tagFile(part), tag)

async function append(
  part: string,
  resumed: boolean,
  response: Response,
  { onProgress }: HttpDownload,
  timer: NodeJS.Timeout,
  size: number | undefined,
  sums: WrittenBytes,
): Promise<number> {
  const file = await open(part, resumed ? 'a' : 'w')
  try {
    let position = (await file.stat()).size
    const body = response.body?.getReader()
    for (;;) {
      const chunk = await body?.read().catch((error: unknown) => {
        throw new Transient(`the connection broke at byte ${position}`, 0, { cause: error })
      })
      if (!chunk || chunk.done) break
      timer.refresh()
      await file.appendFile(chunk.value)
      sums.add(position, chunk.value)
      position += chunk.value.byteLength
      onProgress?.(position, size)
    }
    await file.sync()
    return position
  } finally {
    await file.close()
  }
}

async function requireSpace(part: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(part))
  if (bytes > bavail * bsize)
    throw new JobFailure('StorageFull', `${basename(part)} needs ${bytes} bytes; the volume has ${bavail * bsize} free`)
}

const sizeOf = async (path: string): Promise<number> => {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return { size: 0 }
    throw error
  })
  return found.size
}
