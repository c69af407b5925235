import { UNLISTED } from '../native/csv-scanner.ts'
import { type CsvPiece, fieldOf } from './csv.ts'
import type { Author } from './human.ts'
import type { Rows } from './read.ts'
import { isLeftOut, type Selecting, type Selection } from './selection.ts'

/** The rows of a file's pieces, those that `selection` wants. The deciding columns of the pieces are those of the selection. */
export async function* selectRows(
  pieces: AsyncIterable<CsvPiece>,
  selection: Selection,
  choice: Selecting,
): AsyncGenerator<Rows> {
  const selector = new Selector(selection, choice)
  for await (const piece of pieces) {
    yield selector.take(piece)
    if (selector.read >= selection.rows) return
  }
}

/** All rows of a file's pieces. */
export async function* allRows(pieces: AsyncIterable<CsvPiece>): AsyncGenerator<Rows> {
  let read = 0
  for await (const piece of pieces) {
    const before = read
    read += piece.count
    const { count } = piece
    yield { count, number: (row) => before + row, value: (row, column) => valueIn(piece, row, column), read }
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
  read = 0

  constructor(selection: Selection, choice: Selecting) {
    this.#selection = selection
    this.#choice = choice
  }

  take(piece: CsvPiece): Rows {
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
    }
  }

  #kindOf(piece: CsvPiece, record: number): Kind {
    const values = this.#selection.human.map((_, column) => fieldOf(piece, record, column))
    return { values, author: this.#choice.authorOf(values), count: 0 }
  }
}
