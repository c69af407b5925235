/** S3's own calls, as far as a push needs them: https://docs.aws.amazon.com/AmazonS3/latest/API/. Signed by aws4fetch; docs/adr/0015. */
import { createHash } from 'node:crypto'
import { AwsV4Signer } from 'aws4fetch'
import type { Response } from 'undici'
import { JobFailure } from '../job/failure.ts'
import { fetch } from '../service/fetch.ts'
import { sha256 } from '../storage/digest.ts'
import { patiently } from './patience.ts'

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

export interface S3Place {
  /** https://host[:port] of the server; Amazon's of the region when empty. */
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
}

/** What an object is known by. The server holds the bytes of each request against their sha256, which is signed. */
export interface S3Object {
  readonly bytes: number
  /** Lower-case hex of the whole, as whoever wrote it said; undefined for an object that was not written by this client. */
  readonly sha256: string | undefined
}

export interface Part {
  readonly number: number
  readonly etag: string
}

interface Asked {
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
}

const sumHeader = 'x-amz-meta-sha256'

export class S3Client {
  readonly #place: S3Place
  readonly #credentials: S3Credentials
  readonly #signal: AbortSignal | undefined

  constructor(place: S3Place, credentials: S3Credentials, signal?: AbortSignal) {
    this.#place = place
    this.#credentials = credentials
    this.#signal = signal
  }

  /** Undefined when it is not there, or may not be asked for: S3 tells no more, and the words for what is wrong come with a write. */
  async head(key: string): Promise<S3Object | undefined> {
    const answer = await this.#ask('HEAD', key)
    if (!answer.ok && answer.status < 500) return undefined
    await accepted(answer, `HEAD ${key}`)
    const bytes = Number(answer.headers.get('content-length'))
    return { bytes, sha256: answer.headers.get(sumHeader) ?? undefined }
  }

  async get(key: string): Promise<Uint8Array> {
    const answer = await accepted(await this.#ask('GET', key), `GET ${key}`)
    return new Uint8Array(await answer.arrayBuffer())
  }

  async put(key: string, body: Uint8Array): Promise<void> {
    await accepted(await this.#ask('PUT', key, { body, headers: { [sumHeader]: sha256(body) } }), `PUT ${key}`)
  }

  /** An upload of this key that was begun and not ended, with its parts; a new one without. `sum` is that of the whole. */
  async beginOrResume(key: string, sum: string): Promise<{ readonly id: string; readonly parts: readonly Part[] }> {
    const id = await this.#begun(key)
    const parts = id === undefined ? undefined : await this.#parts(key, id)
    if (id !== undefined && parts) return { id, parts }
    const answer = await this.#ask('POST', key, { query: { uploads: '' }, headers: { [sumHeader]: sum } })
    const text = await (await accepted(answer, `upload of ${key}`)).text()
    return { id: field(text, 'UploadId') ?? noField(key, 'UploadId'), parts: [] }
  }

  async putPart(key: string, uploadId: string, number: number, body: Uint8Array): Promise<Part> {
    const query = { partNumber: String(number), uploadId }
    const answer = await accepted(await this.#ask('PUT', key, { query, body }), `part ${number} of ${key}`)
    return { number, etag: answer.headers.get('etag') ?? noField(key, 'ETag') }
  }

  /** Now, and not before, the object is there. */
  async complete(key: string, uploadId: string, parts: readonly Part[]): Promise<void> {
    const list = parts.map(
      ({ number, etag }) =>
        `<Part><PartNumber>${number}</PartNumber><ETag>${etag.replaceAll('"', '&quot;')}</ETag></Part>`,
    )
    const body = Buffer.from(`<CompleteMultipartUpload>${list.join('')}</CompleteMultipartUpload>`)
    const answer = await accepted(await this.#ask('POST', key, { query: { uploadId }, body }), `end of ${key}`)
    // An error that comes after the headers is told in the body of a 200.
    const text = await answer.text()
    if (text.includes('<Error>')) throw new JobFailure('Unavailable', `end of ${key}: ${toldIn(text)}`)
  }

  /** The newest; undefined as well when listing is not allowed. */
  async #begun(key: string): Promise<string | undefined> {
    const answer = await this.#ask('GET', '', { query: { uploads: '', prefix: key } })
    if (!answer.ok) {
      await answer.body?.cancel()
      return undefined
    }
    const uploads = (await answer.text()).match(/<Upload>.*?<\/Upload>/gs) ?? []
    return uploads
      .filter((each) => field(each, 'Key') === key)
      .map((each) => field(each, 'UploadId'))
      .at(-1)
  }

  /** In order; undefined when the upload is gone. */
  async #parts(key: string, uploadId: string): Promise<Part[] | undefined> {
    const found: Part[] = []
    let after = '0'
    for (;;) {
      const answer = await this.#ask('GET', key, { query: { uploadId, 'part-number-marker': after } })
      if (!answer.ok) {
        await answer.body?.cancel()
        return undefined
      }
      const text = await answer.text()
      for (const part of text.match(/<Part>.*?<\/Part>/gs) ?? [])
        found.push({ number: Number(field(part, 'PartNumber')), etag: field(part, 'ETag') ?? '' })
      const next = field(text, 'NextPartNumberMarker')
      if (field(text, 'IsTruncated') !== 'true' || next === undefined || next === after) return found
      after = next
    }
  }

  #ask(method: string, key: string, { query = {}, headers = {}, body }: Asked = {}): Promise<Response> {
    const { endpoint, region, bucket } = this.#place
    const root = endpoint === '' ? `https://s3.${region}.amazonaws.com` : endpoint
    const url = new URL(`${root}/${[bucket, ...key.split('/')].map(encodeURIComponent).join('/')}`)
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    const send = async (): Promise<Response> => {
      const signer = new AwsV4Signer({
        method,
        url: url.href,
        headers: { ...headers, 'x-amz-content-sha256': sha256(body ?? '') },
        service: 's3',
        region,
        ...this.#credentials,
      })
      const signed = await signer.sign()
      return fetch(signed.url, {
        method,
        redirect: 'manual', // to another region, where the signature means nothing
        headers: [...signed.headers],
        ...(body && { body }),
        ...(this.#signal && { signal: this.#signal }),
      })
    }
    return patiently(`${method} ${url}`, send, this.#signal)
  }
}

/** Whether a part that is there is these bytes: its ETag is their MD5, except under encryption with keys of the customer's. */
export const isPart = ({ etag }: Part, body: Uint8Array): boolean =>
  etag.replaceAll('"', '') === createHash('md5').update(body).digest('hex')

async function accepted(answer: Response, what: string): Promise<Response> {
  if (answer.ok) return answer
  const text = await answer.text().catch(() => '')
  const words = `${what}: the server answered ${answer.status} ${toldIn(text)}`.trim()
  const code = field(text, 'Code')
  if (answer.status === 401 || answer.status === 403) throw new JobFailure('AccessDenied', words)
  if (code === 'NoSuchBucket') throw new JobFailure('NotFound', words)
  if (answer.status >= 500 || answer.status === 429) throw new JobFailure('Unavailable', words)
  const region = answer.headers.get('x-amz-bucket-region')
  const hint = region ? `; the bucket is in region ${region}` : ''
  throw new JobFailure('ConfigurationInvalid', `${words}${hint}`)
}

const toldIn = (text: string): string =>
  [field(text, 'Code'), field(text, 'Message')].filter((each) => each).join(': ') || text.slice(0, 300)

const noField = (key: string, name: string): never => {
  throw new JobFailure('Unavailable', `upload of ${key}: the server's answer has no ${name}`)
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", '#34': '"' }

/** Text of the first element of this name. S3's answers are flat enough that no more is needed. */
function field(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]
  return text?.replaceAll(/&([a-z]+|#34);/g, (whole, entity: string) => entities[entity] ?? whole)
}
