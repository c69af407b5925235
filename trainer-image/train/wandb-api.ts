/*
 * What a tracking server of Weights & Biases is asked, as its own SDK asks it (wandb/wandb, core/api/graphql/mutation_run.graphql and
 * mutation_create_run_files.graphql, core/internal/filestream): GraphQL for the run and its files, lines of JSON by file_stream.
 */

import { Headers, type RequestInit, type Response } from 'undici'
import { fetch } from '../service/fetch.ts'

/** No retry helps: the key, the project or the request itself is wrong. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

/** The server or the way to it is at fault; the same may do later. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable'
  /** What the server asked for. */
  readonly afterMilliseconds: number
  constructor(message: string, afterMilliseconds = 0) {
    super(message)
    this.afterMilliseconds = afterMilliseconds
  }
}

export interface WandbServer {
  /** Without a slash at its end. */
  readonly baseUrl: string
  /** Goes into the Authorization header and nowhere else. */
  readonly key: string
  /** One request takes no longer. */
  readonly timeoutMilliseconds: number
  /** Ends the request under way. */
  readonly signal: AbortSignal
}

/** A run as the server has it. */
export interface WandbRun {
  readonly entity: string
  readonly project: string
  readonly name: string
  /** Lines of history that the server has. */
  readonly historyLines: number
}

export interface RunVariables {
  readonly name: string
  readonly project: string
  /** Absent: the key's default one. */
  readonly entity: string | undefined
  readonly displayName: string
  readonly groupName: string
  readonly jobType: string
  readonly notes: string
  /** JSON. */
  readonly config: string
}

/** What file_stream takes: lines of the two files from an offset on, and whether the run is over. */
export interface StreamBody {
  readonly files?: Readonly<Record<string, { readonly offset: number; readonly content: readonly string[] }>>
  readonly complete?: boolean
  readonly exitcode?: number
  readonly uploaded?: readonly string[]
}

const upsertBucket = `mutation UpsertBucket($name: String, $project: String, $entity: String, $groupName: String, $displayName: String,
  $notes: String, $jobType: String, $config: JSONString) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, groupName: $groupName, displayName: $displayName,
    notes: $notes, jobType: $jobType, config: $config}) {
    bucket { id name displayName project { name entity { name } } historyLineCount }
    inserted
  }
}`

const createRunFiles = `mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: [String!]!) {
  createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, files: $files}) {
    runID
    uploadHeaders
    files { name uploadUrl }
  }
}`

/** Makes the run, or finds it by its name. */
export async function upsertRun(server: WandbServer, variables: RunVariables): Promise<WandbRun> {
  const data = (await graphql(server, 'UpsertBucket', upsertBucket, variables)) as {
    upsertBucket?: {
      bucket?: {
        name?: string
        historyLineCount?: number | null
        project?: { name?: string; entity?: { name?: string } }
      }
    }
  }
  const { name, historyLineCount, project } = data.upsertBucket?.bucket ?? {}
  if (!name || !project?.name || !project.entity?.name)
    throw new Refused('UpsertBucket answered without the name of run, project or entity')
  return { name, project: project.name, entity: project.entity.name, historyLines: historyLineCount ?? 0 }
}

export async function streamRun(
  server: WandbServer,
  { entity, project, name }: WandbRun,
  body: StreamBody,
): Promise<void> {
  const path = [entity, project, name].map(encodeURIComponent).join('/')
  const response = await send(server, `${server.baseUrl}/files/${path}/file_stream`, post(server, body))
  await response.body?.cancel()
}

/** Brings one file to where the server wants it. */
export async function uploadFile(
  server: WandbServer,
  { entity, project, name }: WandbRun,
  file: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const variables = { entity, project, run: name, files: [file] }
  const data = (await graphql(server, 'CreateRunFiles', createRunFiles, variables)) as {
    createRunFiles?: { uploadHeaders?: string[]; files?: { name: string; uploadUrl: string }[] }
  }
  const { uploadHeaders = [], files = [] } = data.createRunFiles ?? {}
  const uploadUrl = files.find((each) => each.name === file)?.uploadUrl
  if (!uploadUrl) throw new Refused(`CreateRunFiles answered without an address for ${file}`)
  const url = new URL(uploadUrl, `${server.baseUrl}/`)
  const headers = new Headers(
    uploadHeaders.map((line): [string, string] => [line.split(':')[0]!, line.slice(line.indexOf(':') + 1).trim()]),
  )
  // The address is signed; the key is for the server alone.
  if (url.origin === new URL(server.baseUrl).origin) headers.set('authorization', authorization(server))
  const response = await send(server, url.href, { method: 'PUT', headers, body: bytes })
  await response.body?.cancel()
}

const authorization = ({ key }: WandbServer): string => `Basic ${Buffer.from(`api:${key}`).toString('base64')}`

const post = (server: WandbServer, body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', authorization: authorization(server) },
  body: JSON.stringify(body),
})

async function graphql(server: WandbServer, operationName: string, query: string, variables: object): Promise<object> {
  const response = await send(server, `${server.baseUrl}/graphql`, post(server, { operationName, query, variables }))
  let answer: { data?: object | null; errors?: { message?: string }[] }
  try {
    answer = (await response.json()) as typeof answer
  } catch (error) {
    throw new Unreachable(`${operationName}: the answer is not JSON: ${(error as Error).message}`)
  }
  const [problem] = answer.errors ?? []
  if (problem || !answer.data)
    throw new Refused(
      withoutKey(server, `${operationName}: ${problem?.message?.slice(0, 200) ?? 'an answer without data'}`),
    )
  return answer.data
}

/** A server may repeat what it was sent. */
const withoutKey = (server: WandbServer, text: string): string =>
  text.replaceAll(server.key, '…').replaceAll(authorization(server).slice('Basic '.length), '…')

/** The status codes on which the SDK's file stream gives up (core/internal/filestream/retry_policy.go). */
const refusals: readonly number[] = [400, 401, 403, 404, 409, 410]
const MAX_RETRY_AFTER_SECONDS = 300

/** Resolves with a 2xx answer only. */
async function send(server: WandbServer, url: string, request: RequestInit): Promise<Response> {
  const { host, pathname } = new URL(url)
  const signal = AbortSignal.any([server.signal, AbortSignal.timeout(server.timeoutMilliseconds)])
  let response: Response
  try {
    response = await fetch(url, { ...request, signal, redirect: 'error' })
  } catch (error) {
    const { cause, name, message } = error as Error
    const why =
      name === 'TimeoutError'
        ? `no answer in ${server.timeoutMilliseconds / 1000} s`
        : cause instanceof Error
          ? cause.message
          : message
    throw new Unreachable(`${host}: ${why}`)
  }
  if (response.ok) return response
  const text = await response.text().catch(() => '')
  const message = withoutKey(server, `${host}${pathname} answered ${response.status}: ${text.trim().slice(0, 200)}`)
  if (refusals.includes(response.status)) throw new Refused(message)
  const seconds = Number(response.headers.get('retry-after')) || 0
  throw new Unreachable(message, 1000 * Math.min(seconds, MAX_RETRY_AFTER_SECONDS))
}
