/*
 * A faster way to the same ids: the library's tokenizer is asked once for each piece that its pre-tokenizer cuts a text into, and pieces
 * repeat. What it does not cover is left to the library: undefined is returned.
 */
import type { Tokenizer } from '@huggingface/tokenizers'
import { characterOfByte } from './byte-alphabet.ts'
import { isObject, type JsonObject } from './json.ts'

/** Cuts what stands between added tokens; the pieces' ids, one after the other, are those of the whole. */
type Cut = (section: string, index: number) => readonly string[]

/** Pieces remembered: 100 bytes each. All are forgotten when there are more. */
const MOST_PIECES = 100_000
const LONGEST_PIECE = 64
/** Ids of a text that are held before they are copied. */
const ROOM = 1 << 12

const byteTokens = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`)

/** GPT-2's pattern, which ByteLevel has unless it says otherwise. */
const BYTE_LEVEL = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu

/** `plain(json)` makes a tokenizer of the library. */
export function createPieceEncoder(
  tokenizer: Tokenizer,
  json: JsonObject,
  plain: (json: JsonObject) => Tokenizer,
): ((text: string) => Int32Array) | undefined {
  const { model, normalizer, post_processor: after } = tokenizer
  const added = addedTokens(json)
  if (!model || !added || !leavesAlone(after)) return undefined
  // An unknown token may become one with that of the next piece, unless its bytes are known.
  if (model.fuse_unk && !(model.config.byte_fallback && byteTokens.every((token) => model.tokens_to_ids.has(token))))
    return undefined
  const { cut, byteLevel } = cutOf(tokenizer, json, plain) ?? {}
  if (!cut) return undefined
  const ids = new Map(added.map(({ content, id }) => [content, id]))
  const split = splitterOf(added)
  const known = new Map<string, Int32Array>()

  const idsOf = (piece: string): Int32Array => {
    const tokens = model([byteLevel ? inByteAlphabet(piece) : piece]) as readonly string[]
    const found = Int32Array.from(
      tokens,
      (token) => ids.get(token) ?? model.tokens_to_ids.get(token) ?? (model.unk_token_id as number),
    )
    if (piece.length <= LONGEST_PIECE) {
      if (known.size >= MOST_PIECES) known.clear()
      known.set(piece, found)
    }
    return found
  }

  let room = new Int32Array(ROOM)
  return (text) => {
    let count = 0
    const append = (some: Int32Array): void => {
      if (count + some.length > room.length) {
        const more = new Int32Array(2 * (count + some.length))
        more.set(room)
        room = more
      }
      // Most are one, and `set` takes ten times as long for it.
      if (some.length === 1) room[count++] = some[0] as number
      else {
        room.set(some, count)
        count += some.length
      }
    }
    for (const [index, section] of split(text).entries()) {
      if (section === '') continue
      const id = ids.get(section)
      if (id !== undefined) {
        append(Int32Array.of(id))
        continue
      }
      const normal = normalizer ? (normalizer(section) as string) : section
      if (normal === '') continue
      const own = ids.get(normal)
      if (own !== undefined) append(Int32Array.of(own))
      else for (const piece of cut(normal, index)) append(known.get(piece) ?? idsOf(piece))
    }
    return room.slice(0, count)
  }
}

interface Added {
  readonly id: number
  readonly content: string
  readonly lstrip: boolean
  readonly rstrip: boolean
}

/** Undefined when some are looked for in the normalised text. */
function addedTokens({ added_tokens: list, normalizer }: JsonObject): readonly Added[] | undefined {
  const tokens = ((list ?? []) as readonly JsonObject[]).map(
    ({ id, content, special, normalized, lstrip, rstrip }) => ({
      id: id as number,
      content: content as string,
      lstrip: lstrip === true,
      rstrip: rstrip === true,
      isNormalized: (normalized ?? !special) !== false && isObject(normalizer),
    }),
  )
  return tokens.some(({ content, isNormalized }) => content === '' || isNormalized) ? undefined : tokens
}

/** Divides a text at its added tokens: the longest of those that begin at the first place. */
function splitterOf(added: readonly Added[]): (text: string) => readonly string[] {
  if (added.length === 0) return (text) => [text]
  const byContent = new Map(added.map((token) => [token.content, token]))
  const contents = [...byContent.keys()].sort((a, b) => b.length - a.length)
  const pattern = new RegExp(`(${contents.map((text) => text.replace(/[^\p{L}\p{N}\s]/gu, '\\$&')).join('|')})`)
  return (text) => {
    const sections = text.split(pattern).filter((section) => section !== '')
    for (const [i, section] of sections.entries()) {
      const token = byContent.get(section)
      if (token?.lstrip && i > 0) sections[i - 1] = (sections[i - 1] as string).trimEnd()
      if (token?.rstrip && i + 1 < sections.length) sections[i + 1] = (sections[i + 1] as string).trimStart()
    }
    return sections
  }
}

/** Whether it adds nothing to a text when no special tokens are asked for. */
function leavesAlone(after: Tokenizer['post_processor']): boolean {
  if (after === null) return true
  const probe = ['a', '<s>', 'b']
  const { tokens } = after(probe, null, false) as { tokens: readonly string[] }
  return tokens.join() === probe.join()
}

/** How the pre-tokenizer cuts; `byteLevel`: the pieces are still to be written in the byte alphabet. */
function cutOf(
  tokenizer: Tokenizer,
  json: JsonObject,
  plain: (json: JsonObject) => Tokenizer,
): { readonly cut: Cut; readonly byteLevel: boolean } | undefined {
  const spaces = spacesCut(tokenizer, json)
  const { pre_tokenizer: before } = tokenizer
  const parts = partsOf(json.pre_tokenizer)
  const last = parts.at(-1)
  if (before === null) return { cut: spaces, byteLevel: false }
  if (last?.type === 'Metaspace' && parts.length === 1)
    return {
      cut: (section, index) => before(section, { section_index: index }).flatMap((part: string) => spaces(part, index)),
      byteLevel: false,
    }
  if (last?.type !== 'ByteLevel' || parts.slice(0, -1).some(({ type }) => type === 'ByteLevel')) return undefined
  const first = parts.length === 1 ? null : earlier(json, parts.slice(0, -1), plain)
  const { add_prefix_space: prefix, use_regex: regex = true } = last
  const bytes = (part: string): readonly string[] => {
    const spaced = prefix && !part.startsWith(' ') ? ` ${part}` : part
    return regex ? (spaced.match(BYTE_LEVEL) ?? []) : [spaced]
  }
  const cut: Cut = (section, index) => {
    if (!first) return bytes(section)
    const pieces: readonly string[] = first(section, { section_index: index })
    return regex || prefix ? pieces.flatMap(bytes) : pieces
  }
  return { cut, byteLevel: true }
}

const partsOf = (pre: unknown): readonly JsonObject[] =>
  !isObject(pre) ? [] : pre.type === 'Sequence' ? ((pre.pretokenizers ?? []) as JsonObject[]).flatMap(partsOf) : [pre]

/** The pre-tokenizers before the last, as the library has them. */
const earlier = (json: JsonObject, parts: readonly JsonObject[], plain: (json: JsonObject) => Tokenizer) =>
  plain({
    ...json,
    added_tokens: [],
    pre_tokenizer: { type: 'Sequence', pretokenizers: parts },
    model: { type: 'BPE', vocab: {}, merges: [] },
  }).pre_tokenizer

/**
 * Cuts before "▁", which stands for a space, as far as no merge reaches across: then the merges of the whole text are those of its
 * pieces.
 */
function spacesCut(tokenizer: Tokenizer, json: JsonObject): Cut {
  const { merges, ignore_merges: takesWhole } = json.model as JsonObject
  const crosses = (merges as readonly (string | readonly string[])[]).some((merge) =>
    /[^▁]▁/.test(typeof merge === 'string' ? merge.split(' ', 2).join('') : merge.join('')),
  )
  const { end_of_word_suffix: suffix, config } = tokenizer.model ?? {}
  if (crosses || takesWhole || suffix || (config as JsonObject | undefined)?.continuing_subword_suffix)
    return (section) => [section]
  return (section) => section.match(/▁+[^▁]*|[^▁]+/g) ?? []
}

const utf8 = new TextEncoder()

const inByteAlphabet = (piece: string): string =>
  Array.from(utf8.encode(piece), (byte) => characterOfByte[byte]).join('')
