import { link, mkdir, rm, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/*
 * Downloads that several datasets share, one folder for each content: <folder>/<sum>/content, a hard link to what was downloaded, so it takes
 * no space of its own while the download is there. Kept for a day after it was last used (sweep.ts). On a volume without hard
 * links nothing is shared.
 */

/** Relative to the root of the claim. */
export const sharedDownloads = join('datasets', '.downloads')

export class SharedContent {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  #pathOf(sum: string): string {
    return join(this.#folder, sum, 'content')
  }

  /** Links the content with this sum to `file`, which is not there; false when there is none. The caller verifies it. */
  async take(sum: string, file: string): Promise<boolean> {
    try {
      await link(this.#pathOf(sum), file)
      await utimes(join(this.#folder, sum), new Date(), new Date())
      return true
    } catch (error) {
      if (isAmiss(error)) return false
      throw error
    }
  }

  /** Shares a file that has this sum. */
  async give(sum: string, file: string): Promise<void> {
    try {
      await mkdir(dirname(this.#pathOf(sum)), { recursive: true })
      await link(file, this.#pathOf(sum))
    } catch (error) {
      if (!isAmiss(error)) throw error
    }
  }

  /** Forgets content that does not have its sum. */
  async drop(sum: string): Promise<void> {
    await rm(join(this.#folder, sum), { recursive: true, force: true })
  }
}

/** Not there, there already, swept meanwhile, or no hard links here: nothing is shared, and nothing is wrong. */
const isAmiss = (error: unknown): boolean =>
  ['ENOENT', 'EEXIST', 'EXDEV', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'ENOSYS'].includes(
    (error as NodeJS.ErrnoException).code ?? '',
  )
