/** The sums that a download is held against. */
import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'

/** The sum the bytes must have. `gitBlob` is git's object id of a file: sha1 over "blob <size>\0" and the bytes. */
export type ExpectedSum = { readonly sha256: string } | { readonly gitBlob: string; readonly bytes: number }

export interface Downloaded {
  /** Lower-case hex over the whole file. */
  readonly sha256: string
  readonly bytes: number
}

export interface Sums extends Downloaded {
  readonly gitBlob: string
}

/** Sums of what one process wrote from the first byte on, so that it need not be read again. */
export class WrittenBytes {
  readonly #blobHeader: string
  #sha256: Hash
  #blob: Hash
  bytes = 0

  constructor(expected: ExpectedSum | undefined) {
    this.#blobHeader = `blob ${expected && 'gitBlob' in expected ? expected.bytes : 0}\0`
    this.#sha256 = createHash('sha256')
    this.#blob = createHash('sha1').update(this.#blobHeader)
  }

  /** Bytes beyond a gap are not summed: an earlier process wrote what is before them. */
  add(position: number, chunk: Uint8Array): void {
    if (position === 0) {
      this.#sha256 = createHash('sha256')
      this.#blob = createHash('sha1').update(this.#blobHeader)
      this.bytes = 0
    }
    if (position !== this.bytes) return
    this.#sha256.update(chunk)
    this.#blob.update(chunk)
    this.bytes += chunk.byteLength
  }

  sums(): Sums {
    return { sha256: this.#sha256.digest('hex'), gitBlob: this.#blob.digest('hex'), bytes: this.bytes }
  }
}

/** Of a file whose bytes another process wrote, at least some of them. */
export async function sumFile(path: string, signal: AbortSignal): Promise<Sums> {
  const bytes = (await stat(path)).size
  const sha256 = createHash('sha256')
  const blob: Hash = createHash('sha1').update(`blob ${bytes}\0`)
  for await (const chunk of createReadStream(path, { signal, highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    sha256.update(chunk)
    blob.update(chunk)
  }
  return { sha256: sha256.digest('hex'), gitBlob: blob.digest('hex'), bytes }
}

/** What is wrong with the bytes; undefined when they are those expected. */
export function mismatch(sums: Sums, expected: ExpectedSum): string | undefined {
  if ('sha256' in expected)
    return sums.sha256 === expected.sha256.toLowerCase()
      ? undefined
      : `${sums.bytes} bytes with sha256 ${sums.sha256}; expected ${expected.sha256}`
  return sums.gitBlob === expected.gitBlob
    ? undefined
    : `${sums.bytes} bytes with git object id ${sums.gitBlob}; expected ${expected.bytes} bytes and ${expected.gitBlob}`
}
