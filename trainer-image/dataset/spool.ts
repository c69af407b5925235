import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'

/** A text that is kept until the near-duplicate search has seen all of them. Its ordinal is its place in the spool. */
export interface SpooledText {
  readonly id: string
  readonly text: string
  /** The other text of its pair; empty when it has none. */
  readonly input: string
}

/** Cleaned texts on disk, in the order in which they came. */
export interface Spool {
  /** All texts in order, some thousands at a time. */
  read(): AsyncGenerator<readonly SpooledText[]>
  /** The texts at the given ordinals, in ascending order of the ordinals; absent ones are left out. */
  pick(ordinals: readonly number[]): Promise<ReadonlyMap<number, SpooledText>>
}

export interface SpoolWriter {
  append(texts: readonly SpooledText[]): Promise<void>
}

/*
 * Of a folder one file of blocks, each of them: how many texts it has and how many bytes they take; of each text where its id, itself and its
 * input end among these bytes; the bytes, as UTF-8. Numbers have 32 bits, as this machine orders them. A text can be found without
 * reading the blocks before its own.
 */
const fileName = 'texts'
const HEADER_WORDS = 2
const FIELDS = 3

/** A block is written when its texts have so many bytes. */
const BLOCK_BYTES = 4 * 2 ** 20

/** The spool of a new folder: what `body` appends. Returns what `body` does. */
export async function writeSpool<T>(folder: string, body: (spool: SpoolWriter) => Promise<T>): Promise<T> {
  const file = await open(join(folder, fileName), 'wx')
  try {
    const block = new Block()
    const result = await body({
      async append(texts) {
        for (const text of texts) {
          block.add(text)
          if (block.bytes >= BLOCK_BYTES) await block.moveTo(file)
        }
      },
    })
    await block.moveTo(file)
    return result
  } finally {
    await file.close()
  }
}

/** Texts that wait until they are enough for a block. */
class Block {
  #memory = Buffer.allocUnsafe(2 * BLOCK_BYTES)
  #ends: number[] = []
  bytes = 0

  add({ id, text, input }: SpooledText): void {
    // A UTF-16 unit is at most three bytes of UTF-8.
    const most = this.bytes + 3 * (id.length + text.length + input.length)
    if (most > this.#memory.length) {
      const grown = Buffer.allocUnsafe(2 * most)
      this.#memory.copy(grown, 0, 0, this.bytes)
      this.#memory = grown
    }
    for (const field of [id, text, input]) {
      this.bytes += this.#memory.write(field, this.bytes)
      this.#ends.push(this.bytes)
    }
  }

  async moveTo(file: FileHandle): Promise<void> {
    if (this.#ends.length === 0) return
    const numbers = Uint32Array.of(this.#ends.length / FIELDS, this.bytes, ...this.#ends)
    await file.appendFile(numbers)
    await file.appendFile(this.#memory.subarray(0, this.bytes))
    this.#ends = []
    this.bytes = 0
  }
}

/** The spools of some folders, one behind the other. */
export function openSpool(folders: readonly string[]): Spool {
  /** The texts of each block, of which the first is number `first`; blocks without one that `isWanted` are not read. */
  async function* blocks(
    isWanted: (first: number, end: number) => boolean,
  ): AsyncGenerator<{ readonly first: number; readonly texts: readonly SpooledText[] }> {
    let first = 0
    for (const folder of folders) {
      const file = await open(join(folder, fileName))
      try {
        const { size } = await file.stat()
        for (let at = 0; at < size; ) {
          const header = new Uint32Array(HEADER_WORDS)
          await read(file, header, at)
          const [count, bytes] = header as unknown as [number, number]
          const ends = new Uint32Array(FIELDS * count)
          at += header.byteLength
          if (isWanted(first, first + count)) {
            await read(file, ends, at)
            const utf8 = Buffer.allocUnsafe(bytes)
            await read(file, utf8, at + ends.byteLength)
            yield { first, texts: textsOf(utf8, ends) }
          }
          at += ends.byteLength + bytes
          first += count
        }
      } finally {
        await file.close()
      }
    }
  }
  return {
    async *read() {
      for await (const { texts } of blocks(() => true)) yield texts
    },
    async pick(ordinals) {
      const found = new Map<number, SpooledText>()
      const wanted = [...new Set(ordinals)].sort((a, b) => a - b)
      for await (const { first, texts } of blocks((from, end) => wanted.some((each) => from <= each && each < end)))
        for (const ordinal of wanted) {
          const text = texts[ordinal - first]
          if (text !== undefined) found.set(ordinal, text)
        }
      return found
    },
  }
}

function textsOf(utf8: Buffer, ends: Uint32Array): SpooledText[] {
  const field = (number: number): string => utf8.toString('utf8', ends[number - 1] ?? 0, ends[number])
  return Array.from({ length: ends.length / FIELDS }, (_, i) => ({
    id: field(FIELDS * i),
    text: field(FIELDS * i + 1),
    input: field(FIELDS * i + 2),
  }))
}

/** All of `into`, from `at` in the file on. */
async function read(file: FileHandle, into: Uint8Array | Uint32Array, at: number): Promise<void> {
  const { bytesRead } = await file.read(into, 0, into.byteLength, at)
  if (bytesRead < into.byteLength)
    throw new Error(`a spool ends at ${at + bytesRead}; expected ${into.byteLength} bytes from ${at} on`)
}
