/** The end of a run, kept in its folder until its tracking server has it. */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../storage/atomic.ts'
import type { TrackedResult, TrackerOptions } from './wandb.ts'

/** Below a run's folder: its spool, and what is pending. */
export const trackingFolder = 'weights-and-biases'

export interface Pending extends Pick<TrackerOptions, 'run'> {
  readonly settings: Omit<TrackerOptions['settings'], 'keyFile'>
  readonly result: Omit<TrackedResult, 'files'>
  /** In the run's folder. */
  readonly files: readonly string[]
}

const fileOf = (directory: string): string => join(directory, 'pending.json')

/** Before anything of it is sent. */
export async function keepPending({ directory, settings, run }: TrackerOptions, result: TrackedResult): Promise<void> {
  const { keyFile: _, ...rest } = settings
  const { summary, table, files } = result
  const pending: Pending = { settings: rest, run, result: { summary, table }, files: Object.keys(files) }
  await writeFileAtomic(fileOf(directory), JSON.stringify(pending))
}

export const forgetPending = (directory: string): Promise<void> => rm(fileOf(directory), { force: true })

/** Undefined when nothing is. */
export async function readPending(directory: string): Promise<Pending | undefined> {
  const text = await readFile(fileOf(directory), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  return text === undefined ? undefined : (JSON.parse(text) as Pending)
}
