import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { type CsvOptions, type Fill, PIECE_BYTES, parsePieces } from './csv.ts'
import { allRows, selectRows } from './csv-select.ts'
import { FILE_START, type FilePlace, type Part, WHOLE_FILE } from './part.ts'
import type { Rows } from './read.ts'
import { MOST_VALUES, type Selection, selecting } from './selection.ts'

/** The bytes of a file. */
interface Bytes extends AsyncDisposable {
  readonly fill: Fill
  /** How many of the file's own are behind the reader. */
  readonly position: () => number
  /** Undefined of a packed file, which can only be read from its beginning. */
  readonly size: number | undefined
}

/** Bytes that are unpacked at once. */
const UNPACKED = 1 << 20

/** Unpacks the file when its name ends in .gz. Of a plain one `from` leaves out what is between the header and the place. */
export const bytesOf = (path: string, from = FILE_START): Promise<Bytes> | Bytes =>
  /\.gz$/i.test(path) ? unpackedBytes(path) : plainBytes(path, from)

async function plainBytes(path: string, { header, byte }: FilePlace): Promise<Bytes> {
  const file = await open(path)
  const { size } = await file.stat()
  let position = header > 0 ? 0 : byte
  return {
    async fill(into) {
      const most = position < header ? Math.min(header - position, into.length) : into.length
      const { bytesRead } = await file.read(into, 0, most, position)
      position += bytesRead
      if (position === header) position = byte
      return bytesRead
    },
    position: () => position,
    size,
    [Symbol.asyncDispose]: () => file.close(),
  }
}

function unpackedBytes(path: string): Bytes {
  const file = createReadStream(path, { highWaterMark: UNPACKED })
  const unpacked = createGunzip({ chunkSize: UNPACKED })
  // The failure of the pipeline also destroys `unpacked`, whose reader throws it.
  pipeline(file, unpacked).catch(() => undefined)
  return {
    fill: fillFrom(unpacked),
    position: () => file.bytesRead,
    size: undefined,
    async [Symbol.asyncDispose]() {
      unpacked.destroy()
      file.destroy()
    },
  }
}

/** Piece by piece; of one that is too long the rest comes next. */
export function fillFrom(pieces: AsyncIterable<Uint8Array>): Fill {
  const iterator = pieces[Symbol.asyncIterator]()
  let left: Uint8Array = new Uint8Array()
  return async (into) => {
    while (left.length === 0) {
      const { done, value } = await iterator.next()
      if (done) return 0
      left = value
    }
    const length = Math.min(left.length, into.length)
    into.set(left.subarray(0, length))
    left = left.subarray(length)
    return length
  }
}

/** Of a small part less is asked for at once, so that it does not end far behind its size. Long records make many small pieces slow. */
const piecesOf = (leastBytes: number): number => Math.min(Math.max(Math.ceil(leastBytes / 8), 1 << 16), PIECE_BYTES)

/**
 * The rows of a file, those that `selection` wants; its values can be asked for until the next rows are. `onBytes` hears how many bytes of the file
 * have been read.
 */
export async function* readCsvFile(
  path: string,
  options: Pick<CsvOptions, 'maxRecord' | 'onHeader'> & { readonly wanted: readonly string[] },
  selection?: Selection,
  onBytes: (bytes: number) => void = () => {},
  { from, leastBytes }: Part = WHOLE_FILE,
): AsyncGenerator<Rows> {
  await using bytes = await bytesOf(path, from)
  const choice = selection && selecting(selection)
  const kinds = choice && { deciding: selection.human.length, mostKinds: MOST_VALUES }
  const pieces = parsePieces(bytes.fill, { ...options, ...kinds, pieceBytes: piecesOf(leastBytes), from })
  for await (const rows of choice ? selectRows(pieces, selection, choice, from.row) : allRows(pieces, from.row)) {
    onBytes(bytes.position())
    const { read, end } = rows
    // A place is known by its row, too: one part must not end where it began.
    const isEnd = end.byte - from.byte >= leastBytes && end.byte < (bytes.size ?? 0) && read > from.row
    yield isEnd ? { ...rows, next: { row: read, ...end } } : rows
    if (isEnd) return
  }
}
