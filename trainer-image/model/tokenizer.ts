/**
 * Text to token ids and back. Encoding is @huggingface/tokenizers'; decoding and offsets are ours, from the bytes that each token stands for, so
 * that they are exact: no clean-up of spaces, no lost half of a character, an end for every token.
 */
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { JobFailure } from '../job/failure.ts'
import { bytesOfToken, characterOfByte } from './byte-alphabet.ts'
import { fieldsOf, isObject, type JsonObject } from './json.ts'
import { createPieceEncoder } from './piece-encoder.ts'

export interface Tokenizer {
  /** Ids in the order of their numbers: one more than the largest. */
  readonly vocabularySize: number
  /** Special tokens that stand in the text become single ids; none is added. */
  encode(text: string): Int32Array
  /** As encode, with the end of each token in UTF-16 units of `text`; a token that ends inside a character ends before it. */
  encodeWithOffsets(text: string): { readonly ids: Int32Array; readonly ends: Int32Array }
  /** Bytes that are no UTF-8 become U+FFFD. `skipSpecial` (default true) leaves special tokens out. */
  decode(ids: Iterable<number>, skipSpecial?: boolean): string
  /** A decoder for ids that arrive one by one. */
  decodeStream(skipSpecial?: boolean): DecodeStream
  /** The id of a token written as in the vocabulary, such as "<|im_end|>". */
  idOf(token: string): number | undefined
  readonly specialIds: ReadonlySet<number>
}

export interface DecodeStream {
  /** The text that became certain with this id: "" while a character is incomplete. */
  push(id: number): string
  /** What is left at the end; an incomplete character becomes U+FFFD. */
  end(): string
}

/** Makes a tokenizer of tokenizer.json's content. `path` names its source in errors. */
export function createTokenizer(path: string, tokenizerJson: JsonObject): Tokenizer {
  const { model, added } = readVocabulary(path, tokenizerJson)
  const pieces = pieceTable(model, added)
  const specialIds = new Set(added.filter(({ special }) => special).map(({ id }) => id))
  const encodeNonEmpty = createEncoder(path, tokenizerJson)
  const ids = new Map([...Object.entries(model.vocab), ...added.map(({ content, id }) => [content, id] as const)])
  const lost = lostBytes(model)
  const strips = new Map(added.map((token) => [token.id, token]))
  const dropsFirstSpace = !model.byteLevel

  const encode = (text: string): Int32Array => (text === '' ? new Int32Array() : encodeNonEmpty(text))

  const decodeStream = (skipSpecial = true): DecodeStream => {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    let first = true
    return {
      push(id) {
        if (skipSpecial && specialIds.has(id)) return ''
        const text = decoder.decode(pieces[id], { stream: true })
        const drop = first && dropsFirstSpace && text.startsWith(' ')
        first = false
        return drop ? text.slice(1) : text
      },
      end: () => decoder.decode(),
    }
  }

  return {
    vocabularySize: pieces.length,
    specialIds,
    encode,
    encodeWithOffsets(text) {
      const encoded = encode(text)
      return { ids: encoded, ends: endsOf(path, text, encoded, { pieces, lost, strips }) }
    },
    decode(tokens, skipSpecial) {
      const stream = decodeStream(skipSpecial)
      let text = ''
      for (const id of tokens) text += stream.push(id)
      return text + stream.end()
    },
    decodeStream,
    idOf: (token) => ids.get(token),
  }
}

/** The options of tokenizer_config.json are left out: those that the library knows concern its decoder, or families that we refuse. */
function createEncoder(path: string, tokenizerJson: JsonObject): (text: string) => Int32Array {
  // The library looks at some fields only when it encodes.
  const orInvalid = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      throw new JobFailure('SourceInvalid', `${path}: ${(error as Error).message}`, { cause: error })
    }
  }
  refuseEndless(path, tokenizerJson.pre_tokenizer)
  const absent = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null }
  const plain = (json: JsonObject) => new HuggingFaceTokenizer({ ...absent, ...json }, {})
  const encoder = orInvalid(() => plain(tokenizerJson))
  const byPieces = orInvalid(() => createPieceEncoder(encoder, tokenizerJson, plain))
  return (text) =>
    orInvalid(() => byPieces?.(text) ?? Int32Array.from(encoder.encode(text, { add_special_tokens: false }).ids))
}

/** The library cuts a text into pieces of length 0 for ever. */
function refuseEndless(path: string, part: unknown): void {
  if (!isObject(part)) return
  if (part.type === 'FixedLength' && !(Number.isInteger(part.length) && (part.length as number) > 0))
    throw fieldsOf(`${path}: pre_tokenizer FixedLength`, part).wrong('length', 'a whole number from 1')
  if (Array.isArray(part.pretokenizers)) for (const inner of part.pretokenizers) refuseEndless(path, inner)
}

interface Vocabulary {
  readonly vocab: Readonly<Record<string, number>>
  /** True: tokens are written in the byte alphabet. False: in plain text, with "▁" for a space and <0xNN> for a byte. */
  readonly byteLevel: boolean
}

interface AddedToken {
  readonly id: number
  readonly content: string
  readonly special: boolean
  /** White space before it, or after, belongs to it. */
  readonly lstrip: boolean
  readonly rstrip: boolean
}

function readVocabulary(path: string, json: JsonObject): { model: Vocabulary; added: readonly AddedToken[] } {
  const bad = (message: string) => new JobFailure('SourceInvalid', `${path}: ${message}`)
  const model = fieldsOf(path, json).object('model') ?? {}
  const fields = fieldsOf(`${path}: model`, model)
  const type = fields.string('type', 'BPE')
  if (type !== 'BPE') throw bad(`tokenizer model "${type}" is not supported; supported is BPE`)
  const vocab = fields.object('vocab')
  if (!vocab || !Array.isArray(model.merges)) throw bad('the BPE model lacks "vocab" or "merges"')
  for (const [token, id] of Object.entries(vocab)) checkId(id, token, bad)
  const list = json.added_tokens ?? []
  if (!Array.isArray(list)) throw bad('added_tokens is not a list')
  const added = list.map((token: unknown): AddedToken => {
    if (!isObject(token) || typeof token.content !== 'string') throw bad('an added token has no "content"')
    return {
      id: checkId(token.id, token.content, bad),
      content: token.content,
      special: token.special === true,
      lstrip: token.lstrip === true,
      rstrip: token.rstrip === true,
    }
  })
  const byteLevel = !fields.boolean('byte_fallback', false)
  return { model: { vocab: vocab as Record<string, number>, byteLevel }, added }
}

const MAX_VOCABULARY = 4_194_304

function checkId(id: unknown, token: string, bad: (message: string) => Error): number {
  if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= MAX_VOCABULARY)
    throw bad(`token ${JSON.stringify(token)} has id ${JSON.stringify(id)}; expected 0 to ${MAX_VOCABULARY - 1}`)
  return id
}

/** The bytes of every id; ids without a token stand for none. */
function pieceTable(model: Vocabulary, added: readonly AddedToken[]): readonly Uint8Array[] {
  const utf8 = new TextEncoder()
  const plain = (token: string): Uint8Array => {
    const [, hex] = /^<0x([0-9A-F]{2})>$/.exec(token) ?? []
    return hex ? Uint8Array.of(Number.parseInt(hex, 16)) : utf8.encode(token.replaceAll('▁', ' '))
  }
  const ids = [...Object.values(model.vocab), ...added.map(({ id }) => id)]
  const size = 1 + ids.reduce((largest, id) => Math.max(largest, id), -1)
  const pieces = new Array<Uint8Array>(size).fill(new Uint8Array()) // one for all ids without a token
  for (const [token, id] of Object.entries(model.vocab))
    pieces[id] = model.byteLevel ? (bytesOfToken(token) ?? utf8.encode(token)) : plain(token)
  for (const { id, content } of added) pieces[id] = utf8.encode(content)
  return pieces
}

/** Bytes that no token stands for: some vocabularies lack rare control characters. Text loses them when it is encoded. */
function lostBytes({ vocab, byteLevel }: Vocabulary): ReadonlySet<number> {
  return new Set(byteLevel ? characterOfByte.flatMap((character, byte) => (character in vocab ? [] : [byte])) : [])
}

/** Follows the tokens' bytes along the text's. A tokenizer that puts a space before the text, or after a special token, does so here too. */
function endsOf(
  path: string,
  text: string,
  ids: Int32Array,
  {
    pieces,
    lost,
    strips,
  }: { pieces: readonly Uint8Array[]; lost: ReadonlySet<number>; strips: Map<number, AddedToken> },
): Int32Array {
  const bytes = new TextEncoder().encode(text)
  const unitAt = unitsByByte(text, bytes.byteLength)
  const ends = new Int32Array(ids.length)
  let at = 0
  const skipSpace = (): void => {
    const rest = text.slice(unitAt[at])
    at += Buffer.byteLength(rest.slice(0, rest.length - rest.trimStart().length))
  }
  ids.forEach((id, i) => {
    let piece = pieces[id] ?? new Uint8Array()
    while (at < bytes.byteLength && lost.has(bytes[at]!)) at++
    if (strips.get(id)?.lstrip) skipSpace()
    if (spacesAt(piece, 0) > spacesAt(bytes, at)) piece = piece.subarray(1)
    if (piece.some((byte, k) => byte !== bytes[at + k]))
      throw new JobFailure(
        'SourceInvalid',
        `${path}: token ${id} does not stand at character ${unitAt[at]} of ${JSON.stringify(text.slice(0, 80))}: ` +
          'this tokenizer changes the text, so its tokens have no offsets',
      )
    at += piece.byteLength
    if (strips.get(id)?.rstrip) skipSpace()
    ends[i] = unitAt[at]!
  })
  return ends
}

function spacesAt(bytes: Uint8Array, from: number): number {
  let end = from
  while (bytes[end] === 32) end++
  return end - from
}

/** For every byte position the UTF-16 unit at which the character that it lies in begins. */
function unitsByByte(text: string, byteLength: number): Int32Array {
  const units = new Int32Array(byteLength + 1)
  let byte = 0
  let unit = 0
  for (const character of text) {
    const code = character.codePointAt(0)!
    const width = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
    units.fill(unit, byte, byte + width)
    byte += width
    unit += character.length
  }
  units[byte] = unit
  return units
}
