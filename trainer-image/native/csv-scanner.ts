import { loadAddon } from './addon.ts'

/** Where a record is no CSV. */
export interface CsvFault {
  readonly kind: 'FieldCount' | 'QuoteNeverClosed' | 'TextBehindQuote'
  readonly at: number
  /** With FieldCount: how many the record has. */
  readonly fields: number
}

export interface CsvScan {
  /** Bytes of whole records. */
  readonly taken: number
  /** Line breaks in these: LF, CRLF and a CR alone. */
  readonly breaks: number
  /** Records. */
  readonly count: number
  /** Of each record's wanted fields begin and end in bytes; the complement of the begin where quotes inside are doubled. */
  readonly bounds: Int32Array
  /** Of each record which of the kinds it is that its deciding fields make, in the order in which kinds came; UNLISTED: one too many. */
  readonly kinds: Uint16Array
  /** The first record of each kind that is new. */
  readonly newKinds: Uint32Array
  readonly fault?: CsvFault
}

/** Finds the records of CSV (csv_scan.h). Calls must not overlap; the bytes must stay until the promise settles. */
export interface CsvScanner {
  /** Of bytes that begin with a record, which more may follow unless they `ended`. */
  scan(bytes: Uint8Array, begin: number, ended: boolean): Promise<CsvScan>
}

/** The kind of a record that is none of those listed. */
export const UNLISTED = 0xffff

interface CsvAddon {
  CsvScanner: new (
    delimiter: number,
    columns: number,
    wanted: Uint32Array,
    deciding: number,
    mostKinds: number,
  ) => CsvScanner
  csvFields(
    bytes: Uint8Array,
    begin: number,
    delimiter: number,
    ended: boolean,
  ): { readonly next: number; readonly bounds: Int32Array; readonly fault?: CsvFault }
}

/** Of one file: it remembers the kinds that came. */
export function csvScanner(options: {
  readonly delimiter: number
  readonly columns: number
  /** Columns by their numbers, in the order in which their fields are wanted. */
  readonly wanted: readonly number[]
  /** The first so many of them decide what kind a record is. */
  readonly deciding: number
  readonly mostKinds: number
}): CsvScanner {
  const { delimiter, columns, wanted, deciding, mostKinds } = options
  const { CsvScanner } = loadAddon() as CsvAddon
  return new CsvScanner(delimiter, columns, Uint32Array.from(wanted), deciding, mostKinds)
}

/** Bounds of the fields of one record, and where the next one begins: `begin` where it goes on beyond the bytes. */
export const csvFields: CsvAddon['csvFields'] = (...args) => (loadAddon() as CsvAddon).csvFields(...args)
