/** Reads one CSV file for csv-file.ts, never far ahead of it. */
import { once } from 'node:events'
import { parentPort, workerData } from 'node:worker_threads'
import { AHEAD, bytesOnThread, type FromThread, rowsIn, type ThreadData } from './csv-file.ts'

if (!parentPort) throw new Error('csv-thread.ts is not a program of its own')
const port = parentPort

const tell = (message: FromThread, moved: ArrayBuffer[] = []): void => port.postMessage(message, moved)

let unread = 0
port.on('message', (size: number) => {
  unread -= size
})
let bytesRead = 0
try {
  const found = rowsIn(workerData as ThreadData, bytesOnThread, (bytes) => {
    bytesRead = bytes
  })
  for await (const rows of found) {
    const moved = [rows.piece.bytes, rows.piece.bounds].map(({ buffer }) => buffer as ArrayBuffer)
    const size = moved.reduce((sum, { byteLength }) => sum + byteLength, 0)
    tell({ kind: 'rows', rows, size, bytesRead }, moved)
    for (unread += size; unread >= AHEAD; ) await once(port, 'message')
  }
  tell({ kind: 'end' })
} catch (error) {
  const { name, message, code = '' } = error as Error & { code?: string }
  tell({ kind: 'failed', name, message, code })
}
port.close()
