/** Parses one CSV file for csv-file.ts, never more than a few pieces ahead of it. */
import { once } from 'node:events'
import { parentPort, workerData } from 'node:worker_threads'
import { parsePieces } from './csv.ts'
import { AHEAD, bytesOf, type FromThread, type ThreadData } from './csv-file.ts'

if (!parentPort) throw new Error('csv-thread.ts is not a program of its own')
const port = parentPort
const { path, maxRecord } = workerData as ThreadData

const tell = (message: FromThread, moved: ArrayBuffer[] = []): void => port.postMessage(message, moved)

let unread = 0
port.on('message', () => unread--)
let bytesRead = 0
try {
  for await (const piece of parsePieces(
    bytesOf(path, (bytes) => {
      bytesRead = bytes
    }),
    maxRecord,
  )) {
    // Small buffers share their memory with others, and are copied.
    const moved = [piece.bytes, piece.bounds].flatMap(({ buffer, byteLength }) =>
      buffer.byteLength === byteLength ? [buffer as ArrayBuffer] : [],
    )
    tell({ kind: 'piece', piece, bytesRead }, moved)
    for (unread++; unread >= AHEAD; ) await once(port, 'message')
  }
  tell({ kind: 'end' })
} catch (error) {
  const { name, message, code = '' } = error as Error & { code?: string }
  tell({ kind: 'failed', name, message, code })
}
port.close()
