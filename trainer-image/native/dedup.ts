import { loadAddon } from './addon.ts'

/** Near duplicates among the texts added so far; the relation is defined in dedup.h. Calls must not overlap. */
export interface NearDuplicateIndex {
  /** Appends texts in their normal form: words separated by single spaces. Keeps 6 bytes a word and 140 a text. */
  add(texts: readonly string[]): Promise<void>
  /** For each text the ordinal of the first text of its cluster. The same for every number of threads and machine. */
  clusters(): Promise<Uint32Array>
  /** Bytes that went to disk because memory was not enough. */
  readonly spilled: number
}

interface NearDuplicatesObject {
  add(bytes: Uint8Array, ends: Uint32Array): Promise<void>
  clusters(): Promise<Uint32Array>
  spilled(): number
}

/** Fails with code INVALID_ARGUMENT unless 0 < threshold ≤ 1 and shingleWords and threads are at least 1. */
export function nearDuplicateIndex(options: {
  /** Jaccard similarity above which two texts are near duplicates. */
  readonly threshold: number
  readonly shingleWords: number
  readonly threads: number
  /** What the index may take; beyond it goes on in a nameless file in `folder` (dedup.h). Absent: all of it stays in memory. */
  readonly memory?: { readonly bytes: number; readonly folder: string }
}): NearDuplicateIndex {
  const { threshold, shingleWords, threads, memory } = options
  const { NearDuplicates } = loadAddon() as {
    NearDuplicates: new (
      threshold: number,
      shingleWords: number,
      threads: number,
      memoryBytes: number,
      folder: string,
    ) => NearDuplicatesObject
  }
  const index = new NearDuplicates(threshold, shingleWords, threads, memory?.bytes ?? 0, memory?.folder ?? '')
  const encoder = new TextEncoder()
  // One for all calls: buffers that wait for the collector are memory that nobody counts.
  let bytes = new Uint8Array()
  let busy = false
  return {
    async add(texts) {
      if (busy)
        throw Object.assign(new Error('another call is under way; await it first'), { code: 'INVALID_ARGUMENT' })
      busy = true
      try {
        // One UTF-16 unit is at most three bytes of UTF-8.
        const most = texts.reduce((units, text) => units + text.length, 0) * 3
        if (most > bytes.length) bytes = new Uint8Array(most)
        const ends = new Uint32Array(texts.length)
        let end = 0
        for (const [i, text] of texts.entries()) {
          end += encoder.encodeInto(text, bytes.subarray(end)).written
          ends[i] = end
        }
        await index.add(bytes.subarray(0, end), ends)
      } finally {
        busy = false
      }
    },
    clusters: async () => index.clusters(),
    get spilled() {
      return index.spilled()
    },
  }
}
