/*
 * CSV as RFC 4180 has it, strictly: a header, the same number of fields in every record, and quotes that close. Not DuckDB's reader:
 * 1.5.6 parses the inside of quoted texts as records where its parallel buffers meet, and on one thread it drops everything
 * after a quote that is never closed, both without an error.
 */

/** The text is not CSV; the message names the line. */
export class CsvInvalid extends Error {
  override readonly name = 'CsvInvalid'
}

export interface CsvRecords {
  /** Names of the header; an empty one, as pandas writes above its row numbers, is named after its place. */
  readonly columns: readonly string[]
  /** Fields of one record each, as many as there are columns; blank lines are left out. */
  readonly records: readonly (readonly string[])[]
}

/** Parses pieces of a text, divided anywhere. Yields the records that each piece completes, the first time with the header. */
export async function* parseCsv(pieces: AsyncIterable<string>, maxRecord: number): AsyncGenerator<CsvRecords> {
  let pending = ''
  let line = 1
  let delimiter = ''
  let columns: readonly string[] = []
  const requireShort = (record: string): void => {
    if (record.length > maxRecord)
      throw new CsvInvalid(
        `the record at line ${line} is longer than ${maxRecord} characters; is a quote never closed?`,
      )
  }
  const take = (ended: boolean): CsvRecords => {
    const records: string[][] = []
    let position = 0
    if (delimiter === '') {
      pending = pending.replace(/^\ufeff/, '')
      requireShort(pending)
      const found = delimiterOf(pending, ended)
      const head = found === undefined ? undefined : recordAt(pending, 0, found, ended, line)
      if (found === undefined || head === undefined) return { columns, records }
      delimiter = found
      columns = namesOf(head.fields)
      position = head.next
      line += head.lines
    }
    for (;;) {
      const record = recordAt(pending, position, delimiter, ended, line)
      if (record === undefined) break
      const { fields } = record
      const blank = fields.length === 1 && record.quoted === false && (fields[0] as string).trim() === ''
      if (!blank) {
        if (fields.length !== columns.length)
          throw new CsvInvalid(
            `line ${line} has ${fields.length} fields; expected ${columns.length}: ${columns.slice(0, 40).join(', ')}`,
          )
        records.push(fields)
      }
      position = record.next
      line += record.lines
    }
    pending = pending.slice(position)
    requireShort(pending)
    return { columns, records }
  }
  for await (const piece of pieces) {
    pending += piece
    yield take(false)
  }
  yield take(true)
}

/** The comma, semicolon or tab that is most frequent in the first record; undefined while that record goes on. */
function delimiterOf(text: string, ended: boolean): string | undefined {
  const counts = new Map([',', ';', '\t'].map((each) => [each, 0]))
  let quoted = false
  let whole = ended
  for (const character of text) {
    if (character === '"') quoted = !quoted
    if (quoted) continue
    whole ||= character === '\n' || character === '\r'
    if (character === '\n' || character === '\r') break
    const count = counts.get(character)
    if (count !== undefined) counts.set(character, count + 1)
  }
  if (!whole) return undefined
  return [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))[0]
}

function namesOf(fields: readonly string[]): readonly string[] {
  const names = fields.map((name, i) => name.trim() || `column${i}`)
  const repeated = names.find((name, i) => names.indexOf(name) < i)
  if (repeated !== undefined)
    throw new CsvInvalid(`the header has column "${repeated}" twice; expected different names`)
  if (fields.every((name) => name.trim() === '')) throw new CsvInvalid('line 1 is blank; expected a header')
  return names
}

interface CsvRecord {
  readonly fields: string[]
  readonly quoted: boolean
  /** Where the next record begins. */
  readonly next: number
  /** Line breaks that the record spans, its own end included. */
  readonly lines: number
}

const LF = 10
const CR = 13
const QUOTE = 34

/** The record that begins at `start`; undefined when it goes on beyond the text, or nothing is left. */
function recordAt(text: string, start: number, delimiter: string, ended: boolean, line: number): CsvRecord | undefined {
  if (start >= text.length) return undefined
  const separator = delimiter.charCodeAt(0)
  const fields: string[] = []
  let position = start
  let quoted = false
  let lines = 0
  for (;;) {
    if (text.charCodeAt(position) === QUOTE) {
      quoted = true
      let from = position + 1
      let doubled = false
      let close = text.indexOf('"', from)
      while (close >= 0 && text.charCodeAt(close + 1) === QUOTE) {
        doubled = true
        from = close + 2
        close = text.indexOf('"', from)
      }
      if (close < 0 && ended) throw new CsvInvalid(`line ${line + lines} opens a quote that is never closed`)
      // A quote at the end of the text so far may be the first of two.
      if (close < 0 || (close + 1 === text.length && !ended)) return undefined
      const field = text.slice(position + 1, close)
      for (let at = field.indexOf('\n'); at >= 0; at = field.indexOf('\n', at + 1)) lines++
      fields.push(doubled ? field.replaceAll('""', '"') : field)
      position = close + 1
      const after = text.charCodeAt(position)
      if (position < text.length && after !== separator && after !== LF && after !== CR)
        throw new CsvInvalid(
          `line ${line + lines} goes on after a closing quote: ${JSON.stringify(text.slice(position, position + 30))}`,
        )
    } else {
      const begin = position
      for (; position < text.length; position++) {
        const code = text.charCodeAt(position)
        if (code === separator || code === LF || code === CR) break
      }
      fields.push(text.slice(begin, position))
    }
    if (position >= text.length) return ended ? { fields, quoted, next: position, lines } : undefined
    const end = text.charCodeAt(position)
    position++
    if (end === separator) continue
    if (end === CR && position === text.length && !ended) return undefined
    if (end === CR && text.charCodeAt(position) === LF) position++
    return { fields, quoted, next: position, lines: lines + 1 }
  }
}
