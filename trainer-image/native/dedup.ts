import { loadAddon } from './addon.ts'

/** Near duplicates among the texts added so far; the relation is defined in dedup.h. Calls must not overlap. */
export interface NearDuplicateIndex {
  /** Appends texts in their normal form: words separated by single spaces. Keeps about 8 bytes a word and 300 a text. */
  add(texts: readonly string[]): Promise<void>
  /** For each text the ordinal of the first text of its cluster. The same for every number of threads and machine. */
  clusters(): Promise<Uint32Array>
}

interface NearDuplicatesObject {
  add(bytes: Uint8Array, ends: Uint32Array): Promise<void>
  clusters(): Promise<Uint32Array>
}

/** Fails with code INVALID_ARGUMENT unless 0 < threshold ≤ 1 and shingleWords and threads are at least 1. */
export function nearDuplicateIndex(options: {
  /** Jaccard similarity above which two texts are near duplicates. */
  readonly threshold: number
  readonly shingleWords: number
  readonly threads: number
}): NearDuplicateIndex {
  const { NearDuplicates } = loadAddon() as {
    NearDuplicates: new (threshold: number, shingleWords: number, threads: number) => NearDuplicatesObject
  }
  const index = new NearDuplicates(options.threshold, options.shingleWords, options.threads)
  const encoder = new TextEncoder()
  return {
    async add(texts) {
      // One UTF-16 unit is at most three bytes of UTF-8.
      const bytes = new Uint8Array(texts.reduce((units, text) => units + text.length, 0) * 3)
      const ends = new Uint32Array(texts.length)
      let end = 0
      texts.forEach((text, i) => {
        end += encoder.encodeInto(text, bytes.subarray(end)).written
        ends[i] = end
      })
      await index.add(bytes.subarray(0, end), ends)
    },
    clusters: async () => index.clusters(),
  }
}
