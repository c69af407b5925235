import { UNLISTED } from '../native/csv-scanner.ts'
import { type CsvPiece, fieldOf } from './csv.ts'
import type { Author } from './human.ts'
import type { Rows } from './read.ts'
import { isLeftOut, type Selecting, type Selection } from './selection.ts'

/** Those of one piece. */
export interface PieceRows extends Rows, Pick<CsvPiece, 'end'> {}

/**
 * The rows of a file's pieces behind its first `before`, those that `selection` wants. The deciding columns of the pieces are those of the
 * selection.
 */
export async function* selectRows(
  pieces: AsyncIterable<CsvPiece>,
  selection: Selection,
  choice: Selecting,
  before: number,
): AsyncGenerator<PieceRows> {
  const selector = new Selector(selection, choice, before)
  for await (const piece of pieces) {
    yield selector.take(piece)
    if (selector.read >= selection.rows) return
  }
}

/** All rows of a file's pieces, behind its first so many. */
export async function* allRows(pieces: AsyncIterable<CsvPiece>, before: number): AsyncGenerator<PieceRows> {
  let read = before
  for await (const piece of pieces) {
    const first = read
    read += piece.count
    const { count, end } = piece
    yield { count, number: (row) => first + row, value: (row, column) => valueIn(piece, row, column), read, end }
  }
}

const valueIn = (piece: CsvPiece, record: number, column: number): string | undefined =>
  column < 0 ? undefined : fieldOf(piece, record, column)

/** What the deciding fields of some records hold. */
interface Kind {
  readonly values: readonly string[]
  readonly author: Author
  /** Records of this piece that may be left out. */
  count: number
}

class Selector {
  readonly #selection: Selection
  readonly #choice: Selecting
  /** By their numbers. */
  readonly #kinds: Kind[] = []
  /** Rows of the file. */
  read: number

  constructor(selection: Selection, choice: Selecting, before: number) {
    this.#selection = selection
    this.#choice = choice
    this.read = before
  }

  take(piece: CsvPiece): PieceRows {
    for (const record of piece.newKinds) this.#kinds.push(this.#kindOf(piece, record))
    const before = this.read
    const count = Math.min(piece.count, this.#selection.rows - before)
    const chosen: number[] = []
    const others: Kind[] = []
    for (let record = 0; record < count; record++) {
      const number = piece.kinds[record] as number
      const kind = number === UNLISTED ? this.#kindOf(piece, record) : (this.#kinds[number] as Kind)
      if (isLeftOut(kind.author)) {
        if (kind.count++ === 0) others.push(kind)
        if (!this.#choice.isDrawn(before + record, kind.author)) continue
      }
      chosen.push(record)
    }
    const leftOut = others.map(({ values, count }) => ({ values, count }))
    for (const kind of others) kind.count = 0
    this.read += count
    return {
      count: chosen.length,
      number: (row) => before + (chosen[row] as number),
      value: (row, column) => valueIn(piece, chosen[row] as number, column),
      read: this.read,
      leftOut,
      end: piece.end,
    }
  }

  #kindOf(piece: CsvPiece, record: number): Kind {
    const values = this.#selection.human.map((_, column) => fieldOf(piece, record, column))
    return { values, author: this.#choice.authorOf(values), count: 0 }
  }
}
