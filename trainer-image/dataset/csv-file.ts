import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { type CsvOptions, type Fill, parsePieces } from './csv.ts'
import { allRows, selectRows } from './csv-select.ts'
import type { Rows } from './read.ts'
import { MOST_VALUES, type Selection, selecting } from './selection.ts'

/** The bytes of a file. */
interface Bytes extends AsyncDisposable {
  readonly fill: Fill
  /** How many of the file's own were read. */
  readonly bytesRead: () => number
}

/** Bytes that are unpacked at once. */
const UNPACKED = 1 << 20

/** Unpacks the file when its name ends in .gz. */
export const bytesOf = (path: string): Promise<Bytes> | Bytes =>
  /\.gz$/i.test(path) ? unpackedBytes(path) : plainBytes(path)

async function plainBytes(path: string): Promise<Bytes> {
  const file = await open(path)
  let bytesRead = 0
  return {
    async fill(into) {
      const read = await file.read(into)
      bytesRead += read.bytesRead
      return read.bytesRead
    },
    bytesRead: () => bytesRead,
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
    bytesRead: () => file.bytesRead,
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

/**
 * The rows of a file, those that `selection` wants; its values can be asked for until the next rows are. `onBytes` hears how many bytes of the file
 * have been read.
 */
export async function* readCsvFile(
  path: string,
  options: Pick<CsvOptions, 'maxRecord' | 'onHeader'> & { readonly wanted: readonly string[] },
  selection?: Selection,
  onBytes: (bytes: number) => void = () => {},
): AsyncGenerator<Rows> {
  await using bytes = await bytesOf(path)
  const choice = selection && selecting(selection)
  const kinds = choice && { deciding: selection.human.length, mostKinds: MOST_VALUES }
  const pieces = parsePieces(bytes.fill, { ...options, ...kinds })
  for await (const rows of choice ? selectRows(pieces, selection, choice) : allRows(pieces)) {
    onBytes(bytes.bytesRead())
    yield rows
  }
}
