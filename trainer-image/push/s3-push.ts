import { createHash } from 'node:crypto'
import { JobFailure } from '../job/failure.ts'
import { hexOf } from '../storage/digest.ts'
import { manifestName } from '../storage/sealed.ts'
import type { Artifact, Content } from './artifact.ts'
import { isPart, type Part, S3Client, type S3Credentials, type S3Place } from './s3-client.ts'

/** A folder of a bucket. */
export interface S3Target extends S3Place {
  /** Without slashes at its ends; the root of the bucket when empty. */
  readonly prefix: string
}

export interface S3Pushed {
  /** s3://bucket/prefix/…/<digest hex>. */
  readonly reference: string
  readonly present: number
  readonly files: number
}

/** The folders that a claim has them in. */
const folders = { adapter: 'adapters', merged: 'merged', gguf: 'gguf' } as const

/** Most parts of one upload. */
const mostParts = 10_000
const MIB = 1 << 20

/**
 * Writes <prefix>/adapters/<digest hex>/… and the like, manifest.json last: as on a claim, a folder counts with it. What is there already
 * with its size and sum is not sent again, and a large file goes on after its last whole part. In the end everything is asked for.
 */
export async function pushToS3(
  { kind, manifest, files }: Artifact,
  { prefix, ...place }: S3Target,
  credentials: S3Credentials,
  { signal, partBytes = 16 * MIB }: { readonly signal?: AbortSignal; readonly partBytes?: number } = {},
): Promise<S3Pushed> {
  const client = new S3Client(place, credentials, signal)
  const folder = [prefix, folders[kind], hexOf(manifest.digest)].filter((each) => each !== '').join('/')
  let present = 0
  for (const [name, content] of files) {
    signal?.throwIfAborted()
    const key = `${folder}/${name}`
    if (await isThere(client, key, content)) present++
    else if (content.bytes <= partBytes) await client.put(key, await whole(content, key))
    else await inParts(client, key, content, partBytes)
  }
  for (const [name, content] of files)
    if (!(await isThere(client, `${folder}/${name}`, content)))
      throw new JobFailure('VerificationFailed', `${folder}/${name} is not there, or is something else, after the push`)
  const told = await client.get(`${folder}/${manifestName}`)
  if (createHash('sha256').update(told).digest('hex') !== files.get(manifestName)?.sha256)
    throw new JobFailure('VerificationFailed', `${folder}/${manifestName} is other bytes after the push`)
  return { reference: `s3://${place.bucket}/${folder}`, present, files: files.size }
}

async function isThere(client: S3Client, key: string, content: Content): Promise<boolean> {
  const found = await client.head(key)
  return found?.bytes === content.bytes && found.sha256 === content.sha256
}

async function whole(content: Content, key: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  for await (const piece of content.read()) pieces.push(piece)
  const bytes = Buffer.concat(pieces)
  requireSum(createHash('sha256').update(bytes).digest('hex'), content, key)
  return bytes
}

async function inParts(client: S3Client, key: string, content: Content, partBytes: number): Promise<void> {
  const size = Math.max(partBytes, Math.ceil(content.bytes / mostParts / MIB) * MIB)
  const { id, parts: begun } = await client.beginOrResume(key, content.sha256)
  const hash = createHash('sha256')
  const parts: Part[] = []
  for await (const body of cut(content.read(), size)) {
    hash.update(body)
    const number = parts.length + 1
    const there = begun.find((part) => part.number === number)
    parts.push(there && isPart(there, body) ? there : await client.putPart(key, id, number, body))
  }
  requireSum(hash.digest('hex'), content, key)
  await client.complete(key, id, parts)
}

function requireSum(found: string, { sha256 }: Content, key: string): void {
  if (found !== sha256)
    throw new JobFailure(
      'SourceInvalid',
      `${key} was read as sha256 ${found}; expected ${sha256}: it changed meanwhile`,
    )
}

/** The same bytes in pieces of `size`, the last one shorter. */
async function* cut(pieces: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = []
  let bytes = 0
  for await (let piece of pieces) {
    while (bytes + piece.byteLength >= size) {
      const taken = size - bytes
      yield Buffer.concat([...held, piece.subarray(0, taken)])
      piece = piece.subarray(taken)
      held = []
      bytes = 0
    }
    held.push(piece)
    bytes += piece.byteLength
  }
  if (bytes > 0) yield Buffer.concat(held)
}
