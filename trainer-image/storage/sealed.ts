import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isTemporary, syncDirectory, syncFile, writeFileAtomic } from './atomic.ts'
import { sha256File } from './digest.ts'

/*
 * A directory counts only with its manifest.json, which is written last: it holds the size and sha256 of every other
 * file. Without it the directory is the leftover of an interrupted write and may be swept.
 */

export const manifestName = 'manifest.json'

export interface FileSum {
  readonly sha256: string
  readonly bytes: number
}

/** Keyed by the path relative to the directory, with "/" between folders. */
export type FileSums = Readonly<Record<string, FileSum>>

export interface Manifest {
  readonly version: 1
  /** "sha256:…"; what it covers is the owner's choice and said where the folder is written. */
  readonly digest: string
  readonly files: FileSums
  /** Facts about the folder that its owner wants beside the sums. */
  readonly [fact: string]: unknown
}

/** The directory is there and its content is not what its manifest says, or it was never sealed. */
export class SealBroken extends Error {
  override readonly name = 'SealBroken'
  readonly code = 'SEAL_BROKEN'
}

async function filesBelow(directory: string, prefix = ''): Promise<string[]> {
  const names: string[] = []
  for (const entry of await readdir(join(directory, prefix), { withFileTypes: true })) {
    const name = `${prefix}${entry.name}`
    if (entry.isDirectory()) names.push(...(await filesBelow(directory, `${name}/`)))
    else if (name !== manifestName && !isTemporary(entry.name)) names.push(name)
  }
  return names.sort()
}

/** Sums of all files except the manifest and leftovers of interrupted writes. */
export async function sumFiles(directory: string): Promise<FileSums> {
  const sums: Record<string, FileSum> = {}
  for (const name of await filesBelow(directory)) {
    const path = join(directory, name)
    sums[name] = { sha256: await sha256File(path), bytes: (await stat(path)).size }
  }
  return sums
}

/** The sums alone, {name: sha256}: the value that most digests are taken over. */
export const sumsOnly = (files: FileSums, names: readonly string[] = Object.keys(files)): Record<string, string> =>
  Object.fromEntries(
    names.map((name) => {
      const file = files[name]
      if (file === undefined) throw new SealBroken(`${name} is not in the directory; expected it for the digest`)
      return [name, file.sha256]
    }),
  )

/** Flushes every file, then writes manifest.json: from then on the directory counts. */
export async function seal(
  directory: string,
  digest: string | ((files: FileSums) => string),
  facts: Readonly<Record<string, unknown>> = {},
): Promise<Manifest> {
  const files = await sumFiles(directory)
  for (const name of Object.keys(files)) await syncFile(join(directory, name))
  await syncDirectory(directory)
  const manifest: Manifest = {
    ...facts,
    version: 1,
    digest: typeof digest === 'string' ? digest : digest(files),
    files,
  }
  await writeFileAtomic(join(directory, manifestName), `${JSON.stringify(manifest, null, 2)}\n`)
  return manifest
}

const isFileSum = (value: unknown): value is FileSum =>
  typeof value === 'object' &&
  value !== null &&
  'sha256' in value &&
  typeof value.sha256 === 'string' &&
  'bytes' in value &&
  typeof value.bytes === 'number'

/** The manifest as written, or undefined when the directory is missing or unsealed. Sums are not checked. */
export async function readManifest(directory: string): Promise<Manifest | undefined> {
  let text: string
  try {
    text = await readFile(join(directory, manifestName), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  let value: Partial<Manifest> | null
  try {
    value = JSON.parse(text)
  } catch {
    throw new SealBroken(`${join(directory, manifestName)} is not JSON`)
  }
  if (value?.version !== 1 || typeof value.digest !== 'string' || typeof value.files !== 'object')
    throw new SealBroken(`${join(directory, manifestName)} is not a manifest of version 1`)
  for (const [name, sum] of Object.entries(value.files))
    if (!isFileSum(sum) || name.startsWith('/') || name.split('/').includes('..'))
      throw new SealBroken(`${join(directory, manifestName)} has a bad entry "${name}"`)
  return value as Manifest
}

/** Reads every byte and compares it with the manifest; throws SealBroken that names the file, its sum and the expected one. */
export async function verifySealed(directory: string): Promise<Manifest> {
  const manifest = await readManifest(directory)
  if (manifest === undefined) throw new SealBroken(`${directory} has no ${manifestName}; it was never sealed`)
  for (const [name, expected] of Object.entries(manifest.files)) {
    const path = join(directory, name)
    let bytes: number
    try {
      bytes = (await stat(path)).size
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      throw new SealBroken(`${path} is missing; the manifest lists it`)
    }
    if (bytes !== expected.bytes)
      throw new SealBroken(`${path} has ${bytes} bytes; the manifest says ${expected.bytes}`)
    const actual = await sha256File(path)
    if (actual !== expected.sha256)
      throw new SealBroken(`${path} has sha256 ${actual}; the manifest says ${expected.sha256}`)
  }
  return manifest
}
