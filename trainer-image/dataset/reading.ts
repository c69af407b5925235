import { stat } from 'node:fs/promises'
import type { LocatedSource } from './locate.ts'

/** How far the reading of all sources is. */
export interface Reading {
  readonly bytes: number
  readonly totalBytes: number
  /** 0 to 1; a source with a limit is done when it has as many rows. */
  readonly done: number
}

/** Where reading stands: `rows` of the source so far, and `share` (0 to 1) of its file number `file`. Earlier sources and files are done. */
export type Place = (source: number, rows: number, file: number, share: number) => Reading

/** Measures the sources' files, and turns a place in them into bytes. */
export async function readingOf(sources: readonly Pick<LocatedSource, 'texts' | 'limit'>[]): Promise<Place> {
  const sizes = await Promise.all(
    sources.map(({ texts }) => Promise.all(texts.map(async ({ path }) => (await stat(path)).size))),
  )
  const sum = (of: readonly number[]): number => of.reduce((total, size) => total + size, 0)
  const totalBytes = sum(sizes.map(sum))
  return (source, rows, file, share) => {
    const before = sum(sizes.slice(0, source).map(sum))
    const own = sizes[source] ?? []
    const read = sum(own.slice(0, file)) + Math.round((own[file] ?? 0) * share)
    const limited = Math.min(rows / (sources[source]?.limit ?? Number.POSITIVE_INFINITY), 1) * sum(own)
    return { bytes: before + read, totalBytes, done: (before + Math.max(read, limited)) / Math.max(totalBytes, 1) }
  }
}
