import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import { JobFailure } from '../job/failure.ts'
import { writeFileAtomic } from '../storage/atomic.ts'
import { isDigest } from '../storage/digest.ts'

/** What a pod remembers in its emptyDir, so that a restarted container goes on where it was with nobody to ask. */
export interface Remembered {
  /** The highest generation this pod accepted. */
  readonly desired: DesiredAdapter
  /** The last one it proved and served; differs from `desired` when that failed to load. */
  readonly served: DesiredAdapter | undefined
}

const stateFile = (directory: string): string => join(directory, 'serving.json')

/** undefined when the pod has never accepted anything. A file that cannot be read is the same: the ConfigMap decides then. */
export async function readRemembered(directory: string): Promise<Remembered | undefined> {
  const value = await readJson(stateFile(directory)).catch((error) => {
    if (error instanceof SyntaxError) return undefined
    throw error
  })
  const { desired, served } = (value ?? {}) as { desired?: unknown; served?: unknown }
  if (desired === undefined) return undefined
  return {
    desired: DesiredAdapter.fromJSON(desired),
    served: served === undefined ? undefined : DesiredAdapter.fromJSON(served),
  }
}

export async function writeRemembered(directory: string, { desired, served }: Remembered): Promise<void> {
  const value = {
    desired: DesiredAdapter.toJSON(desired),
    ...(served && { served: DesiredAdapter.toJSON(served) }),
  }
  await writeFileAtomic(stateFile(directory), JSON.stringify(value))
}

/** The mounted desired.json; undefined while it is not there. Throws ConfigurationInvalid when it is not a valid one. */
export async function readDesired(path: string): Promise<DesiredAdapter | undefined> {
  try {
    const value = await readJson(path)
    return value === undefined ? undefined : checkDesired(DesiredAdapter.fromJSON(value))
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new JobFailure('ConfigurationInvalid', `${path} is not JSON: ${error.message}`, { cause: error })
  }
}

/** What comes from outside names only what it may: a well-formed digest and a path inside the claim. */
export function checkDesired(desired: DesiredAdapter): DesiredAdapter {
  const { digest, sourcePath } = desired
  if (digest !== '' && !isDigest(digest)) {
    throw new JobFailure('ConfigurationInvalid', `digest is "${digest}", expected "sha256:" and 64 hex digits, or ""`)
  }
  if (sourcePath.startsWith('/') || sourcePath.split('/').includes('..')) {
    throw new JobFailure(
      'ConfigurationInvalid',
      `source_path is "${sourcePath}", expected a path below the claim's root`,
    )
  }
  return desired
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
