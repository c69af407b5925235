import { readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { abandonedAfter, lastTouched } from '../storage/age.ts'

export interface WorkFolder {
  /** Of this dataset; holds the writer's lock. */
  readonly root: string
  /** Downloads, kept from attempt to attempt until the dataset is sealed. */
  readonly downloads: string
  /** Finished stages, kept likewise. */
  readonly stages: string
  /** Of this pod alone: one that lost its lock cannot touch what the next holder writes. */
  readonly attempt: string
}

export const workFolderOf = (datasets: string, ownerUid: string, podUid: string): WorkFolder => {
  const root = join(datasets, '.work', ownerUid)
  return {
    root,
    downloads: join(root, 'downloads'),
    stages: join(root, 'stages'),
    attempt: join(root, `attempt-${podUid.replace(/[^\w-]/g, '_')}`),
  }
}

/** Removes what attempts of this dataset left, downloads and finished stages aside. Only for the holder of its lock. */
export async function sweepAttempts({ root }: WorkFolder): Promise<void> {
  for (const name of await readdir(root))
    if (name.startsWith('attempt')) await rm(join(root, name), { recursive: true, force: true })
}

/** Removes what other datasets abandoned. */
export async function sweepAbandoned({ root }: WorkFolder, now: number): Promise<void> {
  const all = dirname(root)
  for (const name of await readdir(all)) {
    const other = join(all, name)
    if (other !== root && now - (await lastTouched(other)) > abandonedAfter)
      await rm(other, { recursive: true, force: true })
  }
}
