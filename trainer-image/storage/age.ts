import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** What nobody touched for this long is the leftover of an interrupted write, in milliseconds. */
export const abandonedAfter = 24 * 60 * 60 * 1000

/** Newest modification time below a path, in milliseconds; 0 when it is gone. Another pod may remove files meanwhile. */
export async function lastTouched(path: string): Promise<number> {
  try {
    const entry = await stat(path)
    const children = entry.isDirectory() ? await readdir(path) : []
    return Math.max(entry.mtimeMs, ...(await Promise.all(children.map((name) => lastTouched(join(path, name))))))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
    throw error
  }
}
