import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf } from '../storage/digest.ts'
import { type FileSums, type Manifest, manifestName, sumsOnly, verifySealed } from '../storage/sealed.ts'

/** Bytes that can be read as often as they must be sent. */
export interface Content {
  readonly bytes: number
  /** Lower-case hex. */
  readonly sha256: string
  read(): AsyncIterable<Uint8Array>
}

/** A sealed folder, or what stands for one: files by name, and the manifest that says what they are. */
export interface Artifact {
  readonly kind: 'adapter' | 'merged' | 'gguf'
  readonly manifest: Manifest
  /** The manifest is the last. */
  readonly files: ReadonlyMap<string, Content>
}

export const contentOf = (bytes: Uint8Array): Content => ({
  bytes: bytes.byteLength,
  sha256: createHash('sha256').update(bytes).digest('hex'),
  read: async function* () {
    yield bytes
  },
})

/** The sealed adapter or merged model at `folder`, read through against its manifest. */
export async function folderArtifact(folder: string): Promise<Artifact> {
  const manifest = await verifySealed(folder)
  const files = new Map<string, Content>()
  for (const [name, sum] of Object.entries(manifest.files))
    files.set(name, { ...sum, read: () => createReadStream(join(folder, name), { highWaterMark: 1 << 20 }) })
  files.set(manifestName, contentOf(await readFile(join(folder, manifestName))))
  return { kind: typeof manifest.adapter === 'string' ? 'merged' : 'adapter', manifest, files }
}

/** One file that is made while it is sent and lies nowhere; `read` must give the same bytes each time. Its digest covers them, as a merged model's does. */
export async function fileArtifact(
  name: string,
  read: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  facts: { readonly base: string; readonly adapter: string },
): Promise<Artifact> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const piece of read()) {
    hash.update(piece)
    bytes += piece.byteLength
  }
  const sha256 = hash.digest('hex')
  const sums: FileSums = { [name]: { sha256, bytes } }
  const manifest: Manifest = { ...facts, version: 1, digest: digestOf(sumsOnly(sums)), files: sums }
  const content: Content = {
    bytes,
    sha256,
    read: async function* () {
      yield* read()
    },
  }
  const sealed = Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`)
  return {
    kind: 'gguf',
    manifest,
    files: new Map([
      [name, content],
      [manifestName, contentOf(sealed)],
    ]),
  }
}
