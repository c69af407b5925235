import { stat } from 'node:fs/promises'
import { JobFailure } from '../job/failure.ts'
import { digestOf, sha256File } from '../storage/digest.ts'
import type { OpenedModel } from './open.ts'

/*
 * What a base model is: "sha256:…" over the canonical JSON of {name: sha256} of the files that openModel reads. An
 * adapter's identity holds it, so whoever trains or serves reads the bytes once and compares.
 */

export async function sumModel(
  { files }: Pick<OpenedModel, 'files'>,
  signal?: AbortSignal,
  beat?: () => void,
): Promise<{ readonly digest: string; readonly bytes: number }> {
  const sums: Record<string, string> = {}
  let bytes = 0
  for (const { name, path } of files) {
    sums[name] = await sha256File(path, signal, beat)
    beat?.()
    bytes += (await stat(path)).size
  }
  return { digest: digestOf(sums), bytes }
}

/** Throws SourceInvalid unless the opened files are those of `expected`. `path` is how the message names them; `beat` shows that it goes on. */
export async function requireModel(
  opened: Pick<OpenedModel, 'files'>,
  expected: string,
  path: string,
  beat?: () => void,
): Promise<void> {
  const { digest } = await sumModel(opened, undefined, beat)
  if (digest === expected) return
  throw new JobFailure(
    'SourceInvalid',
    `${path} holds base ${digest}; expected ${expected}: its files were changed after they were fetched or summed`,
  )
}
