import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { Worker } from 'node:worker_threads'
import { createGunzip } from 'node:zlib'
import { CsvInvalid, NotUtf8, parsePieces } from './csv.ts'
import { type CsvRows, rowsOf, selectRows } from './csv-select.ts'
import type { Rows } from './read.ts'
import type { Selection } from './selection.ts'

/** What the parsing thread tells: some rows, with how many bytes of the file had been read; the end; or why there is none. */
export type FromThread =
  | { readonly kind: 'rows'; readonly rows: CsvRows; readonly bytesRead: number }
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

/** Pieces that the thread may be ahead of the reader. */
export const AHEAD = 3
/** Files from this size on, in bytes, are parsed on a thread of their own; for smaller ones its start costs more than it saves. */
const LARGE = 16 * 1024 * 1024

/** The bytes of a file, unpacked when its name ends in .gz. `onBytes` hears how many of the file's own were read. */
export async function* bytesOf(path: string, onBytes: (bytes: number) => void = () => {}): AsyncGenerator<Buffer> {
  const file = createReadStream(path, { highWaterMark: 1 << 20 })
  const unpacked = /\.gz$/i.test(path) ? createGunzip({ chunkSize: 1 << 20 }) : undefined
  // The failure of the pipeline also destroys `unpacked`, whose reader throws it.
  if (unpacked) pipeline(file, unpacked).catch(() => undefined)
  for await (const piece of (unpacked ?? file) as AsyncIterable<Buffer>) {
    onBytes(file.bytesRead)
    yield piece
  }
}

/** The rows of the file. */
export const readHere = (
  { path, maxRecord, wanted, selection }: ThreadData,
  onBytes: (bytes: number) => void,
): AsyncGenerator<CsvRows> => selectRows(parsePieces(bytesOf(path, onBytes), maxRecord), wanted, selection)

/** The rows of a file of so many bytes, with the columns of its header. A wanted column that is not there has no values. */
export async function* readCsvFile(
  path: string,
  size: number,
  options: CsvOptions,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Rows & Pick<CsvRows, 'columns'>> {
  const read = size < LARGE ? readHere : readOnThread
  for await (const rows of read({ path, ...options }, onBytes)) yield { columns: rows.columns, ...rowsOf(rows) }
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
      thread.postMessage('next')
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
