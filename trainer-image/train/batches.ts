import type { Batch } from '../native/index.ts'
import type { Example } from './example.ts'
import type { Bin } from './packing.ts'

/**
 * One micro-batch: the packed sequences one after another. `firstOrdinal` is the place of its first sequence in the
 * effective batch, so that dropout does not depend on how the effective batch is divided.
 */
export function batchOf(examples: readonly Example[], sequences: readonly Bin[], firstOrdinal: number): Batch {
  const documents = sequences.flat().map((ordinal) => examples[ordinal]!)
  const size = documents.reduce((sum, { tokens }) => sum + tokens.length, 0)
  const tokens = new Int32Array(size)
  const labels = new Int32Array(size)
  const documentOffsets = new Int32Array(documents.length + 1)
  documents.forEach((document, index) => {
    const at = documentOffsets[index]!
    tokens.set(document.tokens, at)
    labels.set(document.labels, at)
    documentOffsets[index + 1] = at + document.tokens.length
  })
  const sequenceOffsets = new Int32Array(sequences.length + 1)
  let seen = 0
  sequences.forEach((bin, index) => {
    seen += bin.length
    sequenceOffsets[index + 1] = documentOffsets[seen]!
  })
  const sequenceOrdinals = Int32Array.from(sequences, (_, index) => firstOrdinal + index)
  return { tokens, labels, documents: documentOffsets, sequences: sequenceOffsets, sequenceOrdinals }
}

/** The effective batch of one step as micro-batches of at most `size` sequences; the last may be smaller. */
export function* microBatches(examples: readonly Example[], sequences: readonly Bin[], size: number): Generator<Batch> {
  for (let first = 0; first < sequences.length; first += size)
    yield batchOf(examples, sequences.slice(first, first + size), first)
}

/** Bins in the examples' own order, for evaluation: each is filled until the next example does not fit. */
export function binsInOrder(examples: readonly Example[], capacity: number): Bin[] {
  const bins: number[][] = []
  let free = 0
  examples.forEach(({ tokens }, ordinal) => {
    if (tokens.length > free) {
      bins.push([])
      free = capacity
    }
    bins.at(-1)!.push(ordinal)
    free -= tokens.length
  })
  return bins
}
