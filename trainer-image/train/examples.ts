import { setImmediate } from 'node:timers/promises'
import type { SampleFormat } from '#proto/humanizer/trainer/v1/preparation.ts'
import { corrupt } from '../dataset/denoise.ts'
import { cut } from './cut.ts'
import type { Row } from './dataset.ts'
import { type Codec, type Example, type Pair, renderExample } from './example.ts'
import type { Work } from './work.ts'

/** The examples of one part of a dataset and what was lost on the way. */
export interface Examples {
  readonly examples: readonly Example[]
  /** Rows that did not fit and were cut into pieces. */
  readonly chunked: number
  /** Sentences, and pairs, that fit nowhere. */
  readonly dropped: number
  /** Share of the texts' characters that those sentences hold, 0 to 1. */
  readonly droppedShare: number
}

/**
 * Renders rows into examples of at most `maxTokens`. A text that does not fit is cut; its pieces are new pairs of the
 * same kind and id, and a piece of a Denoise row gets a corruption of its own (the row's cannot be cut alike). A pair that does not fit is
 * dropped.
 */
export async function makeExamples(
  rows: AsyncIterable<Row>,
  codec: Codec,
  format: SampleFormat,
  maxTokens: number,
  seed: number,
  { signal, beat }: Work,
): Promise<Examples> {
  const examples: Example[] = []
  let chunked = 0
  let dropped = 0
  let read = 0
  let characters = 0
  let droppedCharacters = 0
  for await (const row of rows) {
    if (++read % 32 === 0) {
      beat()
      await setImmediate() // lets the writer's lock beat and calls be answered
    }
    signal.throwIfAborted()
    characters += row.target.length
    const whole = renderExample(codec, format, pairOf(row, row.input, row.target))
    if (whole.tokens.length <= maxTokens) {
      examples.push(whole)
      continue
    }
    if (row.kind === 'Paired') {
      // The two texts of a pair cannot be cut alike.
      dropped++
      droppedCharacters += row.target.length
      continue
    }
    const render = (piece: string): Example =>
      renderExample(codec, format, pairOf(row, inputOf(row, piece, seed), piece))
    const result = cut(row.target, (piece) => render(piece).tokens.length <= maxTokens)
    examples.push(...result.pieces.map(render))
    chunked += result.pieces.length > 0 ? 1 : 0
    dropped += result.dropped
    droppedCharacters += result.droppedCharacters
  }
  return { examples, chunked, dropped, droppedShare: characters === 0 ? 0 : droppedCharacters / characters }
}

const pairOf = (row: Row, input: string, target: string): Pair => ({
  id: row.id,
  input,
  target,
  trainsOnInput: row.kind === 'Identity',
})

/** Not for Paired rows. The piece itself keys the corruption, so that measuring and rendering see the same. */
function inputOf(row: Row, piece: string, seed: number): string {
  switch (row.kind) {
    case 'Identity':
    case 'Paired':
      return piece
    case 'Denoise':
      return corrupt(piece, seed, `${row.id}\0${piece}`)
  }
}
