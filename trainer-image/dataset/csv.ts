import { isUtf8 } from 'node:buffer'

/*
 * CSV as RFC 4180 has it, strictly: a header, the same number of fields in every record, and quotes that close. Not DuckDB's reader:
 * 1.5.6 parses the inside of quoted texts as records where its parallel buffers meet, and on one thread it drops everything
 * after a quote that is never closed, both without an error. Works on bytes: only fields that are asked for become strings.
 */

/** The text is not CSV; the message names the line. */
export class CsvInvalid extends Error {
  override readonly name = 'CsvInvalid'
}

/** The bytes are not UTF-8. */
export class NotUtf8 extends Error {
  override readonly name = 'NotUtf8'
}

/** What one piece completed, in a form that passes from thread to thread. */
export interface CsvPiece {
  readonly columns: readonly string[]
  readonly bytes: Uint8Array
  /** Of each field begin and end in bytes; the complement of the begin where quotes inside are doubled. */
  readonly bounds: Int32Array
}

export interface CsvRecords {
  /** Names of the header; an empty one, as pandas writes above its row numbers, is named after its place. */
  readonly columns: readonly string[]
  /** Blank lines are left out. */
  readonly count: number
  /** Each record has as many as there are columns. */
  field(record: number, column: number): string
}

const LF = 10
const CR = 13
const QUOTE = 34
const delimiters = [',', ';', '\t'].map((each) => each.charCodeAt(0))

/** Parses pieces of a file, divided anywhere. Yields the records that each piece completes, the first time with the header. */
export async function* parseCsv(pieces: AsyncIterable<Uint8Array>, maxRecord: number): AsyncGenerator<CsvRecords> {
  for await (const piece of parsePieces(pieces, maxRecord)) yield recordsOf(piece)
}

/** As parseCsv. What a piece completed is there until the next one is asked for, and so must be the pieces. */
export async function* parsePieces(pieces: AsyncIterable<Uint8Array>, maxRecord: number): AsyncGenerator<CsvPiece> {
  const parser = new Parser(maxRecord)
  for await (const piece of pieces) yield parser.take(piece, false)
  yield parser.take(new Uint8Array(), true)
}

export function recordsOf({ bytes: all, bounds, columns }: CsvPiece): CsvRecords {
  const bytes = Buffer.from(all.buffer, all.byteOffset, all.byteLength)
  return {
    columns,
    count: columns.length === 0 ? 0 : bounds.length / 2 / columns.length,
    field(record, column) {
      const at = 2 * (record * columns.length + column)
      const begin = bounds[at] as number
      const text = bytes.toString('utf8', begin < 0 ? ~begin : begin, bounds[at + 1])
      return begin < 0 ? text.replaceAll('""', '"') : text
    },
  }
}

/** A list of whole numbers that is filled again and again. */
class Bounds {
  #values = new Int32Array(1 << 16)
  length = 0

  push(begin: number, end: number): void {
    if (this.length + 2 > this.#values.length) {
      const grown = new Int32Array(2 * this.#values.length)
      grown.set(this.#values)
      this.#values = grown
    }
    this.#values[this.length++] = begin
    this.#values[this.length++] = end
  }

  at(place: number): number {
    return this.#values[place] as number
  }

  /** They change with the next push. */
  get all(): Int32Array {
    return this.#values.subarray(0, this.length)
  }
}

class Parser {
  readonly #maxRecord: number
  /** Begins with what is there, and is filled again and again. */
  #memory = Buffer.alloc(0)
  /** What no record has taken yet, and the piece that came last. */
  #bytes = this.#memory
  /** How many of them the records have taken. */
  #taken = 0
  /** How many of them are known to be UTF-8. */
  #valid = 0
  #linesBefore = 0
  #ended = false
  #delimiter = 0
  #columns: readonly string[] = []
  readonly #bounds = new Bounds()
  #isQuoted = false

  constructor(maxRecord: number) {
    this.#maxRecord = maxRecord
  }

  take(piece: Uint8Array, ended: boolean): CsvPiece {
    this.#append(piece)
    this.#ended = ended
    this.#requireUtf8()
    this.#bounds.length = 0
    let position = this.#delimiter === 0 ? this.#takeHeader() : 0
    if (position === undefined) {
      this.#requireShort(0)
      return { columns: this.#columns, bytes: new Uint8Array(), bounds: new Int32Array() }
    }
    this.#bounds.length = 0
    for (;;) {
      const before = this.#bounds.length
      const next = this.#scan(position)
      if (next === undefined) break
      const fields = (this.#bounds.length - before) / 2
      if (this.#isBlank(before)) this.#bounds.length = before
      else if (fields !== this.#columns.length)
        throw new CsvInvalid(
          `line ${this.#lineAt(position)} has ${fields} fields; expected ${this.#columns.length}: ${this.#columns.slice(0, 40).join(', ')}`,
        )
      position = next
    }
    this.#requireShort(position)
    this.#linesBefore += breaksIn(this.#bytes, position)
    this.#taken = position
    return { columns: this.#columns, bytes: this.#bytes, bounds: this.#bounds.all }
  }

  #append(piece: Uint8Array): void {
    const rest = this.#bytes.subarray(this.#taken)
    const length = rest.length + piece.length
    const grown = length > this.#memory.length ? Buffer.allocUnsafe(2 * length) : this.#memory
    grown.set(rest)
    grown.set(piece, rest.length)
    this.#memory = grown
    this.#bytes = grown.subarray(0, length)
    this.#valid -= this.#taken
    this.#taken = 0
  }

  /** Where the records begin; undefined while the header goes on. */
  #takeHeader(): number | undefined {
    const begin = this.#bytes.subarray(0, 3).equals(Buffer.from('\ufeff')) ? 3 : 0
    const found = delimiterOf(this.#bytes, this.#ended)
    if (found === undefined) return undefined
    this.#delimiter = found
    const next = this.#scan(begin)
    if (next === undefined) {
      this.#delimiter = 0
      return undefined
    }
    const bounds = this.#bounds.all
    const header = recordsOf({ columns: new Array(bounds.length / 2), bytes: this.#bytes, bounds })
    this.#columns = namesOf(Array.from({ length: bounds.length / 2 }, (_, i) => header.field(0, i)))
    return next
  }

  /**
   * Appends the bounds of the record at `start`. Where the next one begins; undefined, and nothing appended, when it goes on beyond the bytes,
   * or nothing is left.
   */
  #scan(start: number): number | undefined {
    const bytes = this.#bytes
    const { length } = bytes
    if (start >= length) return undefined
    const delimiter = this.#delimiter
    const bounds = this.#bounds
    const before = bounds.length
    this.#isQuoted = false
    let position = start
    for (;;) {
      if (bytes[position] === QUOTE) {
        this.#isQuoted = true
        let isDoubled = false
        let close = bytes.indexOf(QUOTE, position + 1)
        while (close >= 0 && bytes[close + 1] === QUOTE) {
          isDoubled = true
          close = bytes.indexOf(QUOTE, close + 2)
        }
        if (close < 0 && this.#ended)
          throw new CsvInvalid(`line ${this.#lineAt(position)} opens a quote that is never closed`)
        // A quote at the end of the bytes so far may be the first of two.
        if (close < 0 || (close + 1 === length && !this.#ended)) break
        bounds.push(isDoubled ? ~(position + 1) : position + 1, close)
        position = close + 1
        const after = bytes[position]
        if (position < length && after !== delimiter && after !== LF && after !== CR)
          throw new CsvInvalid(
            `line ${this.#lineAt(position)} goes on after a closing quote: ${JSON.stringify(bytes.toString('utf8', position, position + 30))}`,
          )
      } else {
        const begin = position
        for (; position < length; position++) {
          const byte = bytes[position]
          if (byte === delimiter || byte === LF || byte === CR) break
        }
        bounds.push(begin, position)
      }
      if (position >= length) {
        if (this.#ended) return position
        break
      }
      const end = bytes[position++]
      if (end === delimiter) continue
      if (end === CR && position === length && !this.#ended) break
      return end === CR && bytes[position] === LF ? position + 1 : position
    }
    bounds.length = before
    return undefined
  }

  /** Whether the record whose bounds begin there is a line without a character. */
  #isBlank(first: number): boolean {
    if (this.#bounds.length - first !== 2 || this.#isQuoted) return false
    return this.#bytes.toString('utf8', this.#bounds.at(first), this.#bounds.at(first + 1)).trim() === ''
  }

  #lineAt(position: number): number {
    return 1 + this.#linesBefore + breaksIn(this.#bytes, position)
  }

  #requireShort(position: number): void {
    if (this.#bytes.length - position > this.#maxRecord)
      throw new CsvInvalid(
        `the record at line ${this.#lineAt(position)} is longer than ${this.#maxRecord} bytes; is a quote never closed?`,
      )
  }

  #requireUtf8(): void {
    const end = this.#ended ? this.#bytes.length : wholeCharacters(this.#bytes)
    if (!isUtf8(this.#bytes.subarray(this.#valid, end))) throw new NotUtf8('its bytes are not UTF-8')
    this.#valid = end
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
