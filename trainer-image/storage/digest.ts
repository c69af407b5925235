import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'

/** JSON with sorted keys and no spaces, so that equal values have equal bytes. Absent and undefined are the same. */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`canonical JSON has no ${value}; expected a finite number`)
    return JSON.stringify(value)
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value === 'object') {
    const fields = Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`
  }
  throw new TypeError(`canonical JSON has no ${typeof value}`)
}

/** Lower-case hex. */
export const sha256 = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex')

const PIECE = 1 << 20
const PIECES_PER_BEAT = 16

/** Lower-case hex over the bytes of a file, read in pieces. `beat` shows every 16 MiB that the reading goes on. */
export async function sha256File(path: string, signal?: AbortSignal, beat?: () => void): Promise<string> {
  const hash = createHash('sha256')
  const pieces = createReadStream(path, { highWaterMark: PIECE, ...(signal && { signal }) })
  let read = 0
  for await (const piece of pieces) {
    hash.update(piece)
    if (++read % PIECES_PER_BEAT === 0) beat?.()
  }
  return hash.digest('hex')
}

/** "sha256:…" over the canonical JSON of a value: how datasets, bases, adapters and configurations are named. */
export const digestOf = (value: unknown): string => `sha256:${sha256(canonicalJson(value))}`

export const isDigest = (text: string): boolean => /^sha256:[0-9a-f]{64}$/.test(text)

/** The folder name of a digest. */
export function hexOf(digest: string): string {
  if (!isDigest(digest)) throw new TypeError(`digest "${digest}" is not "sha256:" and 64 lower-case hex digits`)
  return digest.slice('sha256:'.length)
}
