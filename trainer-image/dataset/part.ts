/** Where the reading of a file can go on: behind a record, with what its reader must know of the bytes before. */
export interface FilePlace {
  /** Rows before it. */
  readonly row: number
  /** Bytes before it; of Parquet about so many. */
  readonly byte: number
  /** Of CSV: how many bytes the header has, with everything before the first record. */
  readonly header: number
  /** Of CSV: line breaks before it. */
  readonly breaks: number
}

/** A part of a file. */
export interface Part {
  readonly from: FilePlace
  /** It ends at the first place behind so many bytes; formats without such places end where the file does. */
  readonly leastBytes: number
}

export const FILE_START: FilePlace = { row: 0, byte: 0, header: 0, breaks: 0 }

export const WHOLE_FILE: Part = { from: FILE_START, leastBytes: Number.POSITIVE_INFINITY }
