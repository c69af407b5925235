/** Reads one CSV file for csv-file.ts, never more than a few pieces ahead of it. */
import { once } from 'node:events'
import { parentPort, workerData } from 'node:worker_threads'
import { AHEAD, type FromThread, readHere, type ThreadData } from './csv-file.ts'

if (!parentPort) throw new Error('csv-thread.ts is not a program of its own')
const port = parentPort

const tell = (message: FromThread, moved: ArrayBuffer[] = []): void => port.postMessage(message, moved)

let unread = 0
port.on('message', () => unread--)
let bytesRead = 0
try {
  for await (const rows of readHere(workerData as ThreadData, (bytes) => {
    bytesRead = bytes
  })) {
    // Small buffers share their memory with others, and are copied.
    const moved = [rows.piece.bytes, rows.piece.bounds].flatMap(({ buffer, byteLength }) =>
      buffer.byteLength === byteLength ? [buffer as ArrayBuffer] : [],
    )
    tell({ kind: 'rows', rows, bytesRead }, moved)
    for (unread++; unread >= AHEAD; ) await once(port, 'message')
  }
  tell({ kind: 'end' })
} catch (error) {
  const { name, message, code = '' } = error as Error & { code?: string }
  tell({ kind: 'failed', name, message, code })
}
port.close()
