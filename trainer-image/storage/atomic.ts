import { randomUUID } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** Names of this form are leftovers of an interrupted write and never count as content. */
export const temporaryName = (name: string): string => `.${name}.${randomUUID()}.tmp`
export const isTemporary = (name: string): boolean => /^\..+\.tmp$/.test(name)
export const isTemporaryOf = (temporary: string, name: string): boolean =>
  isTemporary(temporary) && temporary.startsWith(`.${name}.`)

/** A folder is renamed onto another only when that is empty, so whoever comes second finds the first one's. */
export async function renameUnlessThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
  }
}

/** Makes the entries of a directory (a rename, a new file) survive a power loss. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Opened for reading: that is enough to flush it, and a copy of a read-only file can be opened no other way. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Readers see the old content or the whole new content, also after a crash: temporary name beside the target, fsync,
 * rename, fsync of the directory. Makes missing parent directories. Parts are written one after another.
 */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array | readonly Uint8Array[],
): Promise<void> {
  const directory = dirname(path)
  await mkdir(directory, { recursive: true })
  const temporary = join(directory, temporaryName(basename(path)))
  try {
    const handle = await open(temporary, 'wx', 0o644)
    try {
      await handle.writeFile(content)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncDirectory(directory)
}
