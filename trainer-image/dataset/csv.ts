import { isUtf8 } from 'node:buffer'
import { type CsvFault, type CsvScan, type CsvScanner, csvFields, csvScanner } from '../native/csv-scanner.ts'
import { FILE_START, type FilePlace } from './part.ts'

/*
 * CSV as RFC 4180 has it, strictly: a header, the same number of fields in every record, and quotes that close. Not DuckDB's reader:
 * 1.5.6 parses the inside of quoted texts as records where its parallel buffers meet, and on one thread it drops everything
 * after a quote that is never closed, both without an error. Works on bytes (csv_scan.h): only fields that are asked for
 * become strings.
 */

/** The text is not CSV; the message names the line. */
export class CsvInvalid extends Error {
  override readonly name = 'CsvInvalid'
}

/** The bytes are not UTF-8. */
export class NotUtf8 extends Error {
  override readonly name = 'NotUtf8'
}

/** What one piece completed. */
export interface CsvPiece extends Pick<CsvScan, 'bounds' | 'kinds' | 'newKinds'> {
  /** Names of the header; an empty one, as pandas writes above its row numbers, is named after its place. */
  readonly columns: readonly string[]
  /** Records; blank lines are none. */
  readonly count: number
  readonly bytes: Buffer
  /** How many fields of each record there are: those of the wanted columns. */
  readonly width: number
  /** Behind the last record. */
  readonly end: Omit<FilePlace, 'row'>
}

/** Reads the next bytes of a file; how many, 0 at its end. */
export type Fill = (into: Uint8Array) => Promise<number>

export interface CsvOptions {
  /** In bytes. */
  readonly maxRecord: number
  /** Is told the header's names, to throw where they are not as they should be. */
  readonly onHeader?: (columns: readonly string[]) => void
  /** Of these columns the fields are found; all must be there. Absent: of all. */
  readonly wanted?: readonly string[]
  /** The first so many wanted columns decide what kind a record is. */
  readonly deciding?: number
  /** So many kinds are told apart. */
  readonly mostKinds?: number
  /** Bytes that are asked for at once. */
  readonly pieceBytes?: number
  /** The bytes are those of the header and then those from this place on. */
  readonly from?: FilePlace
}

const LF = 10
const CR = 13
const QUOTE = 34
const delimiters = [',', ';', '\t'].map((each) => each.charCodeAt(0))
/** Read at once. */
export const PIECE_BYTES = 1 << 21
/** A piece is read behind so much room: the beginning of its first record is put there. */
const ROOM = 1 << 16

/**
 * Parses the pieces of a file, divided anywhere. Yields the records that each piece completes, which are there until the next one is asked
 * for; meanwhile the piece behind them is scanned on another thread, and one more is read.
 */
export async function* parsePieces(fill: Fill, options: CsvOptions): AsyncGenerator<CsvPiece> {
  const { pieceBytes = PIECE_BYTES } = options
  const parser = new Parser(options)
  const memories = [0, 1, 2].map(() => Buffer.from(new ArrayBuffer(ROOM + pieceBytes)))
  const read = async (turn: number): Promise<Buffer> => {
    const memory = memories[turn % memories.length] as Buffer
    return memory.subarray(0, ROOM + (await fill(memory.subarray(ROOM))))
  }
  let reading = read(0)
  let found: CsvPiece | undefined
  for (let turn = 1; ; turn++) {
    const piece = await reading
    const ended = piece.length === ROOM
    const scanning = parser.take(piece, ended)
    if (!ended) reading = read(turn)
    // Failures wait until they are asked for, or until nobody asks any more.
    for (const pending of [scanning, reading]) pending.catch(() => {})
    if (found) yield found
    found = await scanning
    if (!ended) continue
    if (found) yield found
    return
  }
}

/** The text of a field of a wanted column. */
export function fieldOf({ bytes, bounds, width }: CsvPiece, record: number, column: number): string {
  const at = 2 * (record * width + column)
  return textBetween(bytes, bounds[at] as number, bounds[at + 1] as number)
}

function textBetween(bytes: Buffer, begin: number, end: number): string {
  return begin < 0 ? bytes.toString('utf8', ~begin, end).replaceAll('""', '"') : bytes.toString('utf8', begin, end)
}

class Parser {
  readonly #options: CsvOptions
  readonly #from: FilePlace
  /** What no record has taken yet. */
  #rest: Buffer = Buffer.alloc(0)
  /** How much of it is known to be UTF-8. */
  #valid = 0
  /** Of the file, before the rest. */
  #bytesBefore = 0
  #linesBefore = 0
  /** Bytes of the header. */
  #header = 0
  #columns: readonly string[] = []
  #wanted: readonly string[] = []
  #scanner: CsvScanner | undefined

  constructor(options: CsvOptions) {
    this.#options = options
    this.#from = options.from ?? FILE_START
  }

  /** The records that the piece, which stands behind ROOM bytes, completes; undefined before the header is whole. */
  async take(piece: Buffer, ended: boolean): Promise<CsvPiece | undefined> {
    const bytes = this.#behindRest(piece)
    const valid = ended ? bytes.length : wholeCharacters(bytes)
    if (!isUtf8(bytes.subarray(this.#valid, valid))) throw new NotUtf8('its bytes are not UTF-8')
    const begin = this.#scanner ? 0 : this.#takeHeader(bytes, ended)
    const scan = begin === undefined ? undefined : await this.#scanner?.scan(bytes, begin, ended)
    if (scan?.fault) throw this.#invalid(bytes, scan.fault)
    const taken = scan?.taken ?? 0
    const { maxRecord } = this.#options
    if (bytes.length - taken > maxRecord)
      throw new CsvInvalid(
        `the record at line ${this.#lineAt(bytes, taken)} is longer than ${maxRecord} bytes; is a quote never closed?`,
      )
    this.#rest = bytes.subarray(taken)
    this.#valid = valid - taken
    this.#bytesBefore += taken
    this.#linesBefore += scan?.breaks ?? 0
    const end = { byte: this.#bytesBefore, header: this.#header, breaks: this.#linesBefore }
    return scan && { ...scan, columns: this.#columns, bytes, width: this.#wanted.length, end }
  }

  #behindRest(piece: Buffer): Buffer {
    const begin = ROOM - this.#rest.length
    if (begin < 0) return Buffer.concat([this.#rest, piece.subarray(ROOM)])
    piece.set(this.#rest, begin)
    return piece.subarray(begin)
  }

  /** Where the records begin; undefined while the header goes on. */
  #takeHeader(bytes: Buffer, ended: boolean): number | undefined {
    const begin = bytes.subarray(0, 3).equals(Buffer.from('\ufeff')) ? 3 : 0
    const delimiter = delimiterOf(bytes, ended)
    if (delimiter === undefined) return undefined
    const { next, bounds, fault } = csvFields(bytes, begin, delimiter, ended)
    if (fault) throw this.#invalid(bytes, fault)
    if (next === begin) return undefined
    this.#header = next
    if (this.#from.byte > 0) {
      this.#bytesBefore = this.#from.byte - next
      this.#linesBefore = this.#from.breaks - breaksIn(bytes, next)
    }
    const names = Array.from({ length: bounds.length / 2 }, (_, i) =>
      textBetween(bytes, bounds[2 * i] as number, bounds[2 * i + 1] as number),
    )
    this.#columns = namesOf(names)
    const { onHeader = () => {}, wanted = this.#columns, deciding = 0, mostKinds = 0 } = this.#options
    onHeader(this.#columns)
    this.#wanted = wanted
    const places = wanted.map((name) => this.#columns.indexOf(name))
    this.#scanner = csvScanner({ delimiter, columns: this.#columns.length, wanted: places, deciding, mostKinds })
    return next
  }

  #invalid(bytes: Buffer, { kind, at, fields }: CsvFault): CsvInvalid {
    const line = `line ${this.#lineAt(bytes, at)}`
    if (kind === 'QuoteNeverClosed') return new CsvInvalid(`${line} opens a quote that is never closed`)
    if (kind === 'TextBehindQuote')
      return new CsvInvalid(
        `${line} goes on after a closing quote: ${JSON.stringify(bytes.toString('utf8', at, at + 30))}`,
      )
    return new CsvInvalid(
      `${line} has ${fields} fields; expected ${this.#columns.length}: ${this.#columns.slice(0, 40).join(', ')}`,
    )
  }

  #lineAt(bytes: Buffer, position: number): number {
    return 1 + this.#linesBefore + breaksIn(bytes, position)
  }
}

/** Where the last character begins if it is not whole yet, else the end. */
function wholeCharacters(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] as number
    if (byte < 0x80) return bytes.length
    if (byte >= 0xc0) return byte >= (back < 2 ? 0xc0 : back < 3 ? 0xe0 : 0xf0) ? bytes.length - back : bytes.length
  }
  return bytes.length
}

/** Line breaks before `end`: LF, CRLF and a CR alone. */
function breaksIn(bytes: Buffer, end: number): number {
  let breaks = 0
  for (let at = bytes.indexOf(LF); at >= 0 && at < end; at = bytes.indexOf(LF, at + 1)) breaks++
  for (let at = bytes.indexOf(CR); at >= 0 && at < end; at = bytes.indexOf(CR, at + 1))
    if (bytes[at + 1] !== LF) breaks++
  return breaks
}

/** The comma, semicolon or tab that is most frequent in the first record; undefined while that record goes on. */
function delimiterOf(bytes: Uint8Array, ended: boolean): number | undefined {
  const counts = delimiters.map(() => 0)
  let isQuoted = false
  let isWhole = ended
  for (const byte of bytes) {
    if (byte === QUOTE) isQuoted = !isQuoted
    if (isQuoted) continue
    if (byte === LF || byte === CR) {
      isWhole = true
      break
    }
    const which = delimiters.indexOf(byte)
    if (which >= 0) counts[which]!++
  }
  return isWhole ? delimiters[counts.indexOf(Math.max(...counts))] : undefined
}

function namesOf(fields: readonly string[]): readonly string[] {
  const names = fields.map((name, i) => name.trim() || `column${i}`)
  const repeated = names.find((name, i) => names.indexOf(name) < i)
  if (repeated !== undefined)
    throw new CsvInvalid(`the header has column "${repeated}" twice; expected different names`)
  if (fields.every((name) => name.trim() === '')) throw new CsvInvalid('line 1 is blank; expected a header')
  return names
}
