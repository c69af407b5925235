import { closeSync, createReadStream, openSync, readSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { Worker } from 'node:worker_threads'
import { createGunzip } from 'node:zlib'
import { CsvInvalid, NotUtf8, parsePieces } from './csv.ts'
import { type CsvRows, rowsOf, selectRows } from './csv-select.ts'
import type { Rows } from './read.ts'
import type { Selection } from './selection.ts'

/** What the parsing thread tells: some rows of so many bytes, with how many of the file had been read; the end; or why there is none. */
export type FromThread =
  | { readonly kind: 'rows'; readonly rows: CsvRows; readonly size: number; readonly bytesRead: number }
  | { readonly kind: 'end' }
  | { readonly kind: 'failed'; readonly name: string; readonly message: string; readonly code: string }

export interface CsvOptions {
  /** In bytes. */
  readonly maxRecord: number
  readonly wanted: readonly string[]
  readonly selection?: Selection | undefined
}

/** What it is started with. */
export interface ThreadData extends CsvOptions {
  readonly path: string
}

/** Bytes that the thread may be ahead of the reader. */
export const AHEAD = 1 << 23
/** Files from this size on, in bytes, are parsed on a thread of their own; for smaller ones its start costs more than it saves. */
const LARGE = 16 * 1024 * 1024

/** Bytes that are read at once. */
const PIECE = 1 << 20

/** The bytes of a file. A piece is there until the next one is asked for. `onBytes` hears how many of the file's own were read. */
export type ReadBytes = (path: string, onBytes?: (bytes: number) => void) => AsyncGenerator<Uint8Array>

/** Unpacks it when its name ends in .gz. */
export const bytesOf: ReadBytes = async function* (path, onBytes = () => {}) {
  const file = createReadStream(path, { highWaterMark: PIECE })
  const unpacked = isPacked(path) ? createGunzip({ chunkSize: PIECE }) : undefined
  // The failure of the pipeline also destroys `unpacked`, whose reader throws it.
  if (unpacked) pipeline(file, unpacked).catch(() => undefined)
  for await (const piece of (unpacked ?? file) as AsyncIterable<Buffer>) {
    onBytes(file.bytesRead)
    yield piece
  }
}

/** For a thread that has nothing else to do: it waits for the disk, and nothing waits for it to be woken. */
export const bytesOnThread: ReadBytes = async function* (path, onBytes = () => {}) {
  if (isPacked(path)) return yield* bytesOf(path, onBytes)
  const file = openSync(path, 'r')
  try {
    const piece = new Uint8Array(PIECE)
    let bytesRead = 0
    for (let length = readSync(file, piece); length > 0; length = readSync(file, piece)) {
      bytesRead += length
      onBytes(bytesRead)
      yield piece.subarray(0, length)
    }
  } finally {
    closeSync(file)
  }
}

const isPacked = (path: string): boolean => /\.gz$/i.test(path)

/** The rows of the file. */
export const rowsIn = (
  { path, maxRecord, wanted, selection }: ThreadData,
  read: ReadBytes,
  onBytes: (bytes: number) => void,
): AsyncGenerator<CsvRows> => selectRows(parsePieces(read(path, onBytes), maxRecord), wanted, selection)

/** The rows of a file of so many bytes, with the columns of its header. A wanted column that is not there has no values. */
export async function* readCsvFile(
  path: string,
  size: number,
  options: CsvOptions,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Rows & Pick<CsvRows, 'columns'>> {
  const data = { path, ...options }
  const found = size < LARGE ? rowsIn(data, bytesOf, onBytes) : readOnThread(data, onBytes)
  for await (const rows of found) yield { columns: rows.columns, ...rowsOf(rows) }
}

async function* readOnThread(data: ThreadData, onBytes: (bytes: number) => void): AsyncGenerator<CsvRows> {
  const thread = new Worker(new URL('./csv-thread.ts', import.meta.url), { workerData: data })
  const arrived: FromThread[] = []
  let wake = waiting()
  thread.on('message', (message: FromThread) => {
    arrived.push(message)
    wake.resolve()
  })
  thread.on('error', (error) => wake.reject(error))
  try {
    for (;;) {
      while (arrived.length === 0) {
        await wake.promise
        wake = waiting()
      }
      const message = arrived.shift() as FromThread
      if (message.kind === 'end') return
      if (message.kind === 'failed') throw failureOf(message)
      onBytes(message.bytesRead)
      yield message.rows
      thread.postMessage(message.size)
    }
  } finally {
    await thread.terminate()
  }
}

/** A promise whose failure waits for whoever asks next. */
function waiting(): PromiseWithResolvers<void> {
  const made = Promise.withResolvers<void>()
  made.promise.catch(() => {})
  return made
}

/** As it was thrown there, as far as anybody asks. */
function failureOf({ name, message, code }: FromThread & { readonly kind: 'failed' }): Error {
  if (name === 'CsvInvalid') return new CsvInvalid(message)
  if (name === 'NotUtf8') return new NotUtf8(message)
  return Object.assign(new Error(message), { code })
}
