import { type CsvPiece, recordsOf } from './csv.ts'
import type { Author } from './human.ts'
import type { Rows } from './read.ts'
import { isLeftOut, type LeftOut, MOST_VALUES, type Selecting, type Selection, selecting } from './selection.ts'

/** Some rows of a file, in a form that passes from thread to thread; the memory of the piece is the reader's. */
export interface CsvRows {
  /** Of the header. */
  readonly columns: readonly string[]
  readonly piece: CsvPiece
  /** Where the wanted columns stand in the piece; -1: nowhere. */
  readonly places: readonly number[]
  /** Of each row its number in the file; undefined: the last one is `read`, and none is missing before it. */
  readonly numbers?: Uint32Array<ArrayBuffer>
  readonly read: number
  readonly leftOut?: readonly LeftOut[]
}

/** The rows of a file's pieces, those that `selection` wants; all where there is nothing to select by. */
export async function* selectRows(
  pieces: AsyncIterable<CsvPiece>,
  wanted: readonly string[],
  selection: Selection | undefined,
): AsyncGenerator<CsvRows> {
  const choice = selection && selecting(selection)
  let selector: Selector | undefined
  let read = 0
  for await (const piece of pieces) {
    const { columns } = piece
    const places = wanted.map((name) => columns.indexOf(name))
    if (selection && choice && columns.length > 0 && !places.includes(-1)) {
      selector ??= new Selector(selection, choice, places)
      yield selector.take(piece)
      if (selector.read >= selection.rows) return
    } else {
      read += recordsOf(piece).count
      const copy = { columns, bytes: new Uint8Array(piece.bytes), bounds: new Int32Array(piece.bounds) }
      yield { columns, piece: copy, places, read }
    }
  }
}

export function rowsOf({ piece, places, numbers, read, leftOut }: CsvRows): Rows {
  const { count, field } = recordsOf(piece)
  return {
    count,
    number: (row) => numbers?.[row] ?? read - count + row,
    value(row, column) {
      const place = places[column] ?? -1
      return place < 0 ? undefined : field(row, place)
    },
    read,
    leftOut,
  }
}

/** What the deciding fields of some records hold. */
interface Kind {
  readonly values: readonly string[]
  readonly author: Author
  /** The bytes of the fields, each behind its length. */
  readonly key: readonly number[]
  /** Records of this piece. */
  count: number
}

class Selector {
  readonly #selection: Selection
  readonly #choice: Selecting
  readonly #places: readonly number[]
  /** By a hash of their keys, the first with each. */
  readonly #kinds = new Map<number, Kind>()
  /** The one being looked at. */
  readonly #key: number[] = []
  read = 0

  constructor(selection: Selection, choice: Selecting, places: readonly number[]) {
    this.#selection = selection
    this.#choice = choice
    this.#places = places
  }

  take(piece: CsvPiece): CsvRows {
    const { columns } = piece
    const count = Math.min(recordsOf(piece).count, this.#selection.rows - this.read)
    const chosen: number[] = []
    const others: Kind[] = []
    for (let record = 0; record < count; record++) {
      const kind = this.#kindOf(piece, record)
      if (isLeftOut(kind.author)) {
        if (kind.count++ === 0) others.push(kind)
        if (!this.#choice.isDrawn(this.read + record, kind.author)) continue
      }
      chosen.push(record)
    }
    const leftOut = others.map(({ values, count }) => ({ values, count }))
    for (const kind of others) kind.count = 0
    const numbers = Uint32Array.from(chosen, (record) => this.read + record)
    this.read += count
    const places = this.#places.map((_, column) => column)
    return { columns, piece: this.#copy(piece, chosen), places, numbers, read: this.read, leftOut }
  }

  #kindOf({ bytes, bounds, columns }: CsvPiece, record: number): Kind {
    const key = this.#key
    const width = columns.length
    let sum = 0
    let length = 0
    for (let column = 0; column < this.#selection.human.length; column++) {
      const at = 2 * (record * width + (this.#places[column] as number))
      const first = bounds[at] as number
      const end = bounds[at + 1] as number
      key[length++] = first < 0 ? first - end : end - first
      for (let place = first < 0 ? ~first : first; place < end; place++) key[length++] = bytes[place] as number
    }
    for (let i = 0; i < length; i++) sum = Math.imul(sum ^ (key[i] as number), 0x01000193)
    const known = this.#kinds.get(sum)
    if (known !== undefined && isBeginning(known.key, key, length)) return known
    const values = this.#selection.human.map((_, i) =>
      recordsOf({ bytes, bounds, columns }).field(record, this.#places[i] as number),
    )
    const kind = { values, author: this.#choice.authorOf(values), key: key.slice(0, length), count: 0 }
    if (known === undefined && this.#kinds.size < MOST_VALUES) this.#kinds.set(sum, kind)
    return kind
  }

  /** The wanted fields of the chosen records, without the doubling of their quotes. */
  #copy(piece: CsvPiece, chosen: readonly number[]): CsvPiece {
    const from = Buffer.from(piece.bytes.buffer, piece.bytes.byteOffset, piece.bytes.byteLength)
    const boundsAt = (record: number, place: number): number => 2 * (record * piece.columns.length + place)
    let size = 0
    for (const record of chosen)
      for (const place of this.#places) {
        const at = boundsAt(record, place)
        const first = piece.bounds[at] as number
        size += (piece.bounds[at + 1] as number) - (first < 0 ? ~first : first)
      }
    const bytes = Buffer.from(new ArrayBuffer(size))
    const bounds = new Int32Array(2 * chosen.length * this.#places.length)
    let filled = 0
    let held = 0
    for (const record of chosen)
      for (const place of this.#places) {
        const at = boundsAt(record, place)
        const [first, end] = [piece.bounds[at] as number, piece.bounds[at + 1] as number]
        bounds[held++] = filled
        if (first >= 0) filled += from.copy(bytes, filled, first, end)
        else filled += bytes.write(from.toString('latin1', ~first, end).replaceAll('""', '"'), filled, 'latin1')
        bounds[held++] = filled
      }
    return { columns: piece.columns.slice(0, this.#places.length), bytes, bounds }
  }
}

/** Whether the list is the first `length` items of the other. */
function isBeginning(list: readonly number[], of: readonly number[], length: number): boolean {
  if (list.length !== length) return false
  for (let i = 0; i < length; i++) if (list[i] !== of[i]) return false
  return true
}
