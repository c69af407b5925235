/** Unpacks a .tar of a model folder. Only regular files; a name that leaves the folder, or a link, is refused. */
import { createReadStream, createWriteStream } from 'node:fs'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { JobFailure } from '../job/failure.ts'
import { readFully } from './safetensors.ts'

const BLOCK = 512
/** A long name or pax header is far smaller. */
const MAX_EXTENSION_BYTES = 65_536

interface Entry {
  readonly name: string
  readonly type: string
  /** First byte of the content in the archive. */
  readonly start: number
  readonly bytes: number
}

/** True for POSIX and GNU archives. */
export const isTar = (head: Uint8Array): boolean => Buffer.from(head).toString('latin1', 257, 262) === 'ustar'

/** Writes the archive's files below `directory`, without "./" and without a folder that all of them lie in. */
export async function extractTar(archive: string, directory: string, signal: AbortSignal): Promise<void> {
  const file = await open(archive)
  let entries: Entry[]
  try {
    entries = await readEntries(file, archive)
  } finally {
    await file.close()
  }
  const files = entries.filter(({ type }) => type !== '5')
  for (const { name, type } of files) {
    if (type !== '0')
      throw new JobFailure(
        'SourceInvalid',
        `${archive}: ${name} is an entry of type "${type}"; expected a regular file`,
      )
    if (name.startsWith('/') || name.includes('\\') || name.split('/').some((part) => part === '' || part === '..'))
      throw new JobFailure('SourceInvalid', `${archive}: file name "${name}" leaves the folder`)
  }
  const top = files[0]?.name.split('/')[0]
  const shared = files.every(({ name }) => name.startsWith(`${top}/`)) ? `${top}/`.length : 0
  for (const { name, start, bytes } of files) {
    const path = join(directory, name.slice(shared))
    await mkdir(dirname(path), { recursive: true })
    const content = bytes === 0 ? [] : createReadStream(archive, { start, end: start + bytes - 1 })
    await pipeline(content, createWriteStream(path), { signal })
  }
}

async function readEntries(file: FileHandle, archive: string): Promise<Entry[]> {
  const fileBytes = (await file.stat()).size
  const bad = (message: string) => new JobFailure('SourceInvalid', `${archive}: ${message}`)
  const entries: Entry[] = []
  const header = Buffer.alloc(BLOCK)
  let longName: string | undefined
  let longSize: number | undefined
  for (let position = 0; position + BLOCK <= fileBytes; ) {
    await readFully(file, header, position, archive)
    if (header.every((byte) => byte === 0)) break
    checkSum(header, position, bad)
    const type = text(header, 156, 1) || '0'
    const bytes = longSize !== undefined && !'xgL'.includes(type) ? longSize : sizeOf(header, bad)
    const start = position + BLOCK
    if (start + bytes > fileBytes)
      throw bad(`an entry at byte ${position} ends at ${start + bytes} but the file has ${fileBytes}: it is truncated`)
    position = start + Math.ceil(bytes / BLOCK) * BLOCK
    if (type === 'x' || type === 'g' || type === 'L') {
      if (bytes > MAX_EXTENSION_BYTES)
        throw bad(`an extended header has ${bytes} bytes; expected at most ${MAX_EXTENSION_BYTES}`)
      const content = Buffer.alloc(bytes)
      await readFully(file, content, start, archive)
      if (type === 'L') longName = text(content, 0, bytes)
      if (type === 'x') ({ path: longName, size: longSize } = paxFields(content))
      continue
    }
    const prefix = text(header, 257, 6) === 'ustar' ? text(header, 345, 155) : ''
    const name = longName ?? (prefix ? `${prefix}/` : '') + text(header, 0, 100)
    entries.push({ name: name.replace(/^(\.\/)+/, '').replace(/\/$/, ''), type, start, bytes })
    longName = undefined
    longSize = undefined
  }
  return entries
}

function text(bytes: Buffer, start: number, length: number): string {
  const field = bytes.subarray(start, start + length)
  const end = field.indexOf(0)
  return field.subarray(0, end < 0 ? length : end).toString('utf8')
}

/** Octal text, or GNU's big-endian number for files of 8 GiB and more. */
function sizeOf(header: Buffer, bad: (message: string) => Error): number {
  const size =
    header[124]! & 0x80 ? Number(header.readBigUInt64BE(128)) : Number.parseInt(text(header, 124, 12).trim() || '0', 8)
  if (!Number.isSafeInteger(size) || size < 0) throw bad('an entry has no readable size')
  return size
}

function checkSum(header: Buffer, position: number, bad: (message: string) => Error): void {
  const stated = Number.parseInt(text(header, 148, 8).trim(), 8)
  const sum = header.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0)
  if (stated !== sum) throw bad(`the header at byte ${position} has checksum ${stated}; expected ${sum}`)
}

/** Records of the form "<length> <key>=<value>\n". */
function paxFields(content: Buffer): { path: string | undefined; size: number | undefined } {
  const fields = new Map<string, string>()
  for (let at = 0; at < content.byteLength; ) {
    const length = Number.parseInt(content.toString('latin1', at, at + 20), 10)
    if (!(length > 0)) break
    const [, key, value] = /^\d+ ([^=]*)=([\s\S]*)\n$/.exec(content.toString('utf8', at, at + length)) ?? []
    if (key !== undefined && value !== undefined) fields.set(key, value)
    at += length
  }
  const size = fields.get('size')
  return { path: fields.get('path'), size: size === undefined ? undefined : Number(size) }
}
