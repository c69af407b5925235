import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { abandonedAfter, lastTouched } from '../storage/age.ts'

export interface WorkFolder {
  /** Of this dataset; holds the writer's lock. */
  readonly root: string
  /** Downloads, kept from attempt to attempt until the dataset is sealed. */
  readonly downloads: string
  /** Of this attempt alone; emptied at its start. */
  readonly attempt: string
}

export const workFolderOf = (datasets: string, ownerUid: string): WorkFolder => {
  const root = join(datasets, '.work', ownerUid)
  return { root, downloads: join(root, 'downloads'), attempt: join(root, 'attempt') }
}

/** Removes what earlier attempts of this dataset left, downloads aside, and what other datasets abandoned. */
export async function sweep(datasets: string, ownerUid: string, now: number): Promise<void> {
  const folder = workFolderOf(datasets, ownerUid)
  await rm(folder.attempt, { recursive: true, force: true })
  await mkdir(folder.attempt, { recursive: true })
  for (const name of await readdir(join(datasets, '.work'))) {
    const other = join(datasets, '.work', name)
    if (name !== ownerUid && now - (await lastTouched(other)) > abandonedAfter)
      await rm(other, { recursive: true, force: true })
  }
}
