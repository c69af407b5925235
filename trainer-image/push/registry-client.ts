/** The OCI distribution specification, as far as a push needs it, with the token flow of registries: https://distribution.github.io/distribution/spec/auth/token/ */
import { Readable } from 'node:stream'
import type { Response } from 'undici'
import { JobFailure } from '../job/failure.ts'
import { fetch } from '../service/fetch.ts'
import type { Content } from './artifact.ts'
import { basicFor } from './credentials.ts'
import { patiently } from './patience.ts'
import type { Target } from './reference.ts'

export interface RegistryOptions {
  /** A dockerconfigjson. */
  readonly auth?: string | undefined
  /** http in place of https. */
  readonly plain?: boolean | undefined
  /** Gives the push up. */
  readonly signal?: AbortSignal | undefined
}

type Body = Uint8Array | Pick<Content, 'bytes' | 'read'>

export class RegistryClient {
  readonly #target: Target
  readonly #options: RegistryOptions
  #authorization: string | undefined
  #basic: Promise<string | undefined> | undefined

  constructor(target: Target, options: RegistryOptions) {
    this.#target = target
    this.#options = options
  }

  async hasBlob(digest: string): Promise<boolean> {
    const answer = await this.#ask('HEAD', `blobs/${digest}`)
    return this.#isFound(answer, `blobs/${digest}`)
  }

  /** In one request, whose bytes the registry holds against the digest. */
  async putBlob(digest: string, body: Body): Promise<void> {
    const begun = await this.#ask('POST', 'blobs/uploads/')
    if (begun.status !== 202) throw await refusal(begun, 'POST blobs/uploads/')
    const location = new URL(begun.headers.get('location') ?? '', begun.url)
    location.searchParams.set('digest', digest)
    const answer = await this.#ask('PUT', location, body, 'application/octet-stream')
    if (answer.status !== 201) throw await refusal(answer, `PUT of blob ${digest}`)
  }

  async manifest(reference: string, type: string): Promise<Uint8Array | undefined> {
    const answer = await this.#ask('GET', `manifests/${reference}`, undefined, undefined, type)
    return (await this.#isFound(answer, `manifests/${reference}`))
      ? new Uint8Array(await answer.arrayBuffer())
      : undefined
  }

  async putManifest(reference: string, type: string, bytes: Uint8Array): Promise<void> {
    const answer = await this.#ask('PUT', `manifests/${reference}`, bytes, type)
    if (answer.status !== 201) throw await refusal(answer, `PUT manifests/${reference}`)
  }

  async #isFound(answer: Response, what: string): Promise<boolean> {
    if (answer.ok) return true
    if (answer.status === 404) return false
    throw await refusal(answer, what)
  }

  /** Again after a challenge, with what it asks for, and after trouble that passes. */
  async #ask(method: string, path: string | URL, body?: Body, type?: string, accept?: string): Promise<Response> {
    const url = path instanceof URL ? path : new URL(`${this.#root}/v2/${this.#target.repository}/${path}`)
    const { signal } = this.#options
    const send = () => patiently(`${method} ${url}`, () => this.#send(method, url, body, type, accept), signal)
    const answer = await send()
    if (answer.status !== 401) return answer
    this.#authorization = await this.#answerTo(answer.headers.get('www-authenticate') ?? '')
    return send()
  }

  get #root(): string {
    return `${this.#options.plain ? 'http' : 'https'}://${this.#target.host}`
  }

  #send(method: string, url: URL, body?: Body, type?: string, accept?: string): Promise<Response> {
    const content = body instanceof Uint8Array ? body : body && Readable.toWeb(Readable.from(body.read()))
    const length = body instanceof Uint8Array ? body.byteLength : (body?.bytes ?? 0)
    return fetch(url, {
      method,
      headers: {
        ...(this.#authorization && { authorization: this.#authorization }),
        ...(type && { 'content-type': type }),
        ...(accept && { accept }),
        ...(method === 'HEAD' || method === 'GET' ? {} : { 'content-length': String(length) }),
      },
      ...(content && { body: content as never, duplex: 'half' }),
      ...(this.#options.signal && { signal: this.#options.signal }),
    })
  }

  /** Basic as it is; Bearer by way of the token server that the challenge names. */
  async #answerTo(challenge: string): Promise<string> {
    // Once: it may be the standard input.
    this.#basic ??= basicFor(this.#target.host, this.#options.auth)
    const basic = await this.#basic
    if (/^basic/i.test(challenge)) {
      if (basic) return basic
      throw new JobFailure(
        'AccessDenied',
        `${this.#target.host} asks for a password; expected one for it in --auth or spec.push's Secret`,
      )
    }
    const part = (name: string) => new RegExp(`${name}="([^"]*)"`, 'i').exec(challenge)?.[1]
    const realm = part('realm')
    if (!/^bearer/i.test(challenge) || !realm)
      throw new JobFailure(
        'AccessDenied',
        `${this.#target.host} answered 401 with the challenge "${challenge}"; expected Basic or Bearer`,
      )
    const url = new URL(realm)
    const service = part('service')
    if (service) url.searchParams.set('service', service)
    url.searchParams.set('scope', `repository:${this.#target.repository}:pull,push`)
    const answer = await fetch(url, { headers: basic ? { authorization: basic } : {} })
    if (!answer.ok) throw await refusal(answer, `token of ${url.origin}`)
    const { token, access_token } = (await answer.json()) as { token?: string; access_token?: string }
    return `Bearer ${token ?? access_token}`
  }
}

async function refusal(answer: Response, what: string): Promise<JobFailure> {
  const text = (await answer.text().catch(() => '')).slice(0, 300)
  const words = `${what}: the registry answered ${answer.status} ${text}`.trim()
  if (answer.status === 401 || answer.status === 403) return new JobFailure('AccessDenied', words)
  return new JobFailure(answer.status >= 500 || answer.status === 429 ? 'Unavailable' : 'SourceInvalid', words)
}
