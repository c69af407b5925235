import { cp, mkdir, open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Owner, Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'

/*
 * Who a folder was made for, written as owners/<uid>.json into it: a Kubernetes object that was deleted can no longer be
 * asked what should become of its files. One folder may have several owners, since equal content has one name.
 */

/** Folder of the records; no part of what a manifest sums. */
export const ownersName = 'owners'

export interface OwnerRecord {
  readonly version: 1
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly reclaimPolicy: 'Retain' | 'Delete'
  /** RFC 3339; metadata.creationTimestamp, by the API server's clock. */
  readonly createdTime: string
}

/** What a Job or pod records of its owner; nothing when it works for none (a local run, an older operator). */
export function ownerRecord(owner: Owner | undefined, reclaim: Reclaim | undefined): OwnerRecord | undefined {
  if (!owner || !reclaim || !isUid(owner.uid)) return undefined
  const { namespace, name, uid } = owner
  // Only the word itself allows removal.
  const reclaimPolicy = reclaim.policy === 'Delete' ? 'Delete' : 'Retain'
  return { version: 1, kind: reclaim.kind, namespace, name, uid, reclaimPolicy, createdTime: reclaim.createdTime }
}

/**
 * Names an owner of the folder; false when there is no such folder. Must come before the look whether the folder is
 * whole: a sweep that takes it away afterwards finds the record and puts it back. A record torn by a crash keeps the
 * folder, and is written again by its owner's next claim.
 */
export async function claimFolder(folder: string, record: OwnerRecord | undefined): Promise<boolean> {
  const text = record && `${JSON.stringify(record, null, 2)}\n`
  const path = join(folder, ownersName, `${record?.uid}.json`)
  try {
    if (text === undefined || (await readFile(path, 'utf8').catch(() => undefined)) === text) {
      await readdir(folder)
      return true
    }
    // Not recursive: the folder itself must never come into being here.
    await mkdir(join(folder, ownersName)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
    const file = await open(path, 'w', 0o644)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

/** All owners of the folder, or undefined when one of them cannot be read: then nobody can say that they are all gone. */
export async function ownersOf(folder: string): Promise<OwnerRecord[] | undefined> {
  const names = await readdir(join(folder, ownersName)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  const records: OwnerRecord[] = []
  for (const name of names) {
    const record = parse(await readFile(join(folder, ownersName, name), 'utf8').catch(() => ''))
    if (!record || `${record.uid}.json` !== name) return undefined
    records.push(record)
  }
  return records
}

/** Names the owners of one folder in another that takes its place. */
export async function keepOwners(from: string, to: string): Promise<void> {
  try {
    await cp(join(from, ownersName), join(to, ownersName), { recursive: true })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function parse(text: string): OwnerRecord | undefined {
  try {
    const record = JSON.parse(text) as Partial<OwnerRecord> | null
    const whole =
      record?.version === 1 &&
      typeof record.namespace === 'string' &&
      typeof record.uid === 'string' &&
      (record.reclaimPolicy === 'Delete' || record.reclaimPolicy === 'Retain') &&
      !Number.isNaN(Date.parse(record.createdTime ?? ''))
    return whole ? (record as OwnerRecord) : undefined
  } catch {
    return undefined
  }
}

/** It becomes the name of a file. */
const isUid = (text: string): boolean => /^[\w-]{1,64}$/.test(text)
