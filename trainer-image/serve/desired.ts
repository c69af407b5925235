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
  const { digest, split } = desired
  if (digest !== '' && !isDigest(digest)) throw invalid('digest', digest, '"sha256:" and 64 hex digits, or ""')
  checkPath('source_path', desired.sourcePath)
  if (!split) return desired
  const { percent } = split
  if (!isDigest(split.digest)) throw invalid('split.digest', split.digest, '"sha256:" and 64 hex digits')
  if (split.digest === digest) throw invalid('split.digest', digest, 'another one than digest')
  if (!Number.isInteger(percent) || percent < 1 || percent > 99) throw invalid('split.percent', `${percent}`, '1 to 99')
  checkPath('split.source_path', split.sourcePath)
  return desired
}

function checkPath(field: string, path: string): void {
  if (path.startsWith('/') || path.split('/').includes('..'))
    throw invalid(field, path, "a path below the claim's root")
}

const invalid = (field: string, value: string, expected: string): JobFailure =>
  new JobFailure('ConfigurationInvalid', `${field} is "${value}", expected ${expected}`)

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
