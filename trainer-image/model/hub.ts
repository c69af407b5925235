/** Files of a Hugging Face repository, at one commit, each checked against the sum that the repository records for it. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { datasetInfo, listFiles, modelInfo } from '@huggingface/hub'
import { JobFailure } from '../job/failure.ts'
import type { SharedContent } from '../storage/shared-content.ts'
import type { Downloaded } from './download-sums.ts'
import { downloadHttp, getJson, type RetryPolicy } from './http-download.ts'

export interface HubRepository {
  readonly kind: 'model' | 'dataset'
  /** "owner/name". */
  readonly repository: string
  /** Branch, tag or commit; empty means "main". */
  readonly revision: string
  /** What HF_ENDPOINT holds, such as "https://huggingface.co": the composition root reads the environment, nobody here. */
  readonly endpoint: string
  /** Absolute path of a mounted token; empty means anonymous. Read anew for each call, so a rotated Secret is seen. */
  readonly tokenFile: string
  readonly signal: AbortSignal
  readonly retry?: RetryPolicy
}

/** A file as the repository lists it. */
export interface HubFile {
  /** Relative path with "/" between folders; never absolute, never with "..". */
  readonly path: string
  readonly bytes: number
  /** Present for files in large file storage. */
  readonly sha256?: string
  /** git's object id; of the pointer, not the bytes, when sha256 is present. */
  readonly gitBlob: string
}

export interface HubListing {
  /** The commit that `revision` stands for now. */
  readonly commit: string
  /** What the repository's card declares; empty when it declares none. */
  readonly license: string
  readonly files: readonly HubFile[]
}

export interface HubDownload {
  readonly commit: string
  /** In the order of the listing; `file` is the path on disk. */
  readonly files: readonly (Downloaded & { readonly path: string; readonly file: string })[]
}

const repositoryUrl = ({ endpoint, kind, repository }: HubRepository, api: boolean): string =>
  `${endpoint.replace(/\/+$/, '')}/${api ? `api/${kind}s/` : kind === 'dataset' ? 'datasets/' : ''}${repository}`

/** Resolves the revision to a commit and lists its files. */
export async function listHubFiles(source: HubRepository): Promise<HubListing> {
  return allowed(source, list(source))
}

async function list(source: HubRepository): Promise<HubListing> {
  const { kind, repository, revision } = source
  if (!/^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(repository))
    throw new JobFailure('ConfigurationInvalid', `repository "${repository}"; expected "owner/name"`)
  const { api, client } = await hubClient(source)
  const asked = { name: repository, revision: revision || 'main', ...client }
  const { sha: commit, cardData } =
    kind === 'dataset'
      ? await datasetInfo({ ...asked, additionalFields: ['sha', 'cardData'] })
      : await modelInfo({ ...asked, additionalFields: ['sha', 'cardData'] })
  if (typeof commit !== 'string' || !/^[0-9a-f]{40}$/.test(commit))
    throw new JobFailure('SourceInvalid', `${api}: the answer has no commit in "sha"`)
  const files: HubFile[] = []
  const repo = { type: kind, name: repository }
  for await (const entry of listFiles({ repo, revision: commit, recursive: true, ...client })) {
    const file = hubFile(entry, api)
    if (file) files.push(file)
  }
  return { commit, license: licenseOf(cardData), files }
}

/**
 * What the Hub's own client is called with: our endpoint, retries and errors. The token stays with us and goes to the endpoint only: a
 * mirror's links may name another host, so of the address of a further page only the query is taken.
 */
async function hubClient(
  source: HubRepository,
): Promise<{ api: string; client: { hubUrl: string; fetch: typeof fetch } }> {
  const bearerToken = await readToken(source.tokenFile)
  const api = repositoryUrl(source, true)
  const hubUrl = source.endpoint.replace(/\/+$/, '')
  let tree = ''
  const get: typeof fetch = async (input) => {
    const asked = String(input)
    if (asked.startsWith(`${api}/tree/`)) tree = asked.replace(/\?.*/, '')
    const url = asked.startsWith(`${api}/`) ? asked : `${tree}${new URL(asked).search}`
    const { body, headers } = await getJson({ ...source, url, ...(bearerToken && { bearerToken }) })
    if (url.startsWith(`${api}/tree/`) && !Array.isArray(body))
      throw new JobFailure('SourceInvalid', `${api}: the file list is not an array`)
    const link = headers.get('link')
    return Response.json(body ?? {}, { headers: link === null ? {} : { link } })
  }
  return { api, client: { hubUrl, fetch: get } }
}

/**
 * The licence that a repository's card declares as an SPDX expression; empty when it declares none, or names one that it does not tell: all
 * of a list must be known.
 */
function licenseOf(cardData: unknown): string {
  const { license } = (cardData ?? {}) as { license?: unknown }
  const named = Array.isArray(license) ? license : [license]
  const isTold = (name: unknown) => typeof name === 'string' && !['', 'unknown', 'other'].includes(name.toLowerCase())
  return named.every(isTold) ? named.join(' AND ') : ''
}

/**
 * Downloads what `select` chooses from the listing into `directory`, keeping the folders. A file that is already whole there is only
 * checked again, so a broken-off call continues. Nothing selected is NotFound.
 */
export async function downloadHubFiles(
  source: HubRepository & {
    readonly directory: string
    readonly shared?: SharedContent | undefined
    readonly select: (files: readonly HubFile[]) => readonly HubFile[]
    readonly onProgress?: (path: string, bytes: number, total: number | undefined) => void
  },
): Promise<HubDownload> {
  const { commit, files: listed } = await listHubFiles(source)
  const selected = source.select(listed)
  if (selected.length === 0)
    throw new JobFailure(
      'NotFound',
      `${source.repository}@${commit} has none of the files wanted; it has ${nameSome(listed)}`,
    )
  const bearerToken = await readToken(source.tokenFile)
  const files = []
  for (const { path, sha256, gitBlob, bytes } of selected) {
    const file = join(source.directory, path)
    const work = downloadHttp({
      url: `${repositoryUrl(source, false)}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`,
      file,
      expected: sha256 ? { sha256 } : { gitBlob, bytes },
      shared: source.shared,
      signal: source.signal,
      ...(bearerToken && { bearerToken }),
      ...(source.retry && { retry: source.retry }),
      onProgress: (held, total) => source.onProgress?.(path, held, total ?? bytes),
    })
    files.push({ ...(await allowed(source, work)), path, file })
  }
  return { commit, files }
}

/** Says what would open a closed door. Without a token the Hub answers 401 also where there is no such repository. */
async function allowed<T>({ repository, tokenFile }: HubRepository, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof JobFailure) || error.reason !== 'AccessDenied') throw error
    const expected =
      tokenFile === ''
        ? `that ${repository} exists and is public, or a tokenSecretRef whose account may read it`
        : `that the account of tokenSecretRef's token may read ${repository}`
    const message = `${error.message}; expected ${expected} (the terms of a gated one are accepted on its page)`
    throw new JobFailure('AccessDenied', message, { cause: error })
  }
}

/** Chooses files by the Hub's own patterns: "*" and "?" also match "/", as in huggingface_hub's allow_patterns. */
export function matching(patterns: readonly string[]): (files: readonly HubFile[]) => readonly HubFile[] {
  const tests = patterns.map((pattern) => {
    const source = pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.')
    return new RegExp(`^${source}$`, 's')
  })
  return (files) => files.filter(({ path }) => tests.some((test) => test.test(path)))
}

const nameSome = (files: readonly HubFile[]): string =>
  files.length === 0
    ? 'no files'
    : files
        .slice(0, 12)
        .map(({ path }) => path)
        .join(', ') + (files.length > 12 ? ', …' : '')

function hubFile(entry: unknown, api: string): HubFile | undefined {
  const { type, path, size, oid, lfs } = (entry ?? {}) as Record<string, unknown>
  if (type !== 'file') return undefined
  const bytes = (lfs as { size?: unknown } | undefined)?.size ?? size
  if (typeof path !== 'string' || typeof oid !== 'string' || !Number.isSafeInteger(bytes))
    throw new JobFailure(
      'SourceInvalid',
      `${api}: a file entry lacks path, oid or size: ${JSON.stringify(entry).slice(0, 200)}`,
    )
  if (
    path.startsWith('/') ||
    path.includes('\\') ||
    path.split('/').some((part) => part === '' || part === '.' || part === '..')
  )
    throw new JobFailure('SourceInvalid', `${api}: file path "${path}" leaves the folder`)
  const sha256 = (lfs as { oid?: unknown } | undefined)?.oid
  return { path, bytes: bytes as number, gitBlob: oid, ...(typeof sha256 === 'string' && { sha256 }) }
}

async function readToken(file: string): Promise<string | undefined> {
  if (file === '') return undefined
  const token = await readFile(file, 'utf8').catch((error: Error) => {
    throw new JobFailure('ConfigurationInvalid', `token file ${file} cannot be read: ${error.message}`, {
      cause: error,
    })
  })
  return token.trim() || undefined
}
