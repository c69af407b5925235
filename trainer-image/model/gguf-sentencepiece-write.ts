/**
 * A SentencePiece BPE, as a tokenizer.json has it, in the form that llama.cpp computes with: scores in place of merges. llama.cpp joins two
 * neighbours whenever they make a token, the one of the highest score first; tokenizer.json joins those that stand in its merges, the first of
 * them first. They come to the same where the merges are all there could be, and those that make one token stand together: so writes them
 * transformers' converter, which has them from scores. What the scores were does not matter, only their order.
 */
import { isDeepStrictEqual } from 'node:util'
import { JobFailure } from '../job/failure.ts'
import type { Added, Bpe } from './gguf-tokenizer-write.ts'
import type { GgufMetadata } from './gguf-write.ts'
import type { JsonObject } from './json.ts'

/** ggml's type of the token of a byte. */
const byte = 6
const byteToken = /^<0x[0-9A-F]{2}>$/

/** A space is written "▁", and one is put before whatever follows a special token or nothing. */
const spaceBeforeEach = {
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'Prepend', prepend: '▁' },
      { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    ],
  },
  pre_tokenizer: null,
}

/**
 * Metadata of the tokenizer; `tokens` and `kinds` by id, of which those of bytes change. SourceInvalid for one that llama.cpp would cut otherwise.
 * Of a tokenizer that puts a space before the first word of a text alone, llama.cpp puts none: what begins with a special token, as every
 * chat does, is cut as it is here.
 */
export function sentencePieceMetadata(
  path: string,
  json: JsonObject,
  model: Bpe,
  added: readonly Added[],
  tokens: string[],
  kinds: number[],
): GgufMetadata {
  const bad = (message: string) => new JobFailure('SourceInvalid', `${path}: ${message}; it cannot be written as GGUF`)
  if (model.ignore_merges === true) throw bad('model has byte_fallback and ignore_merges')
  const spaces = spacesOf(json)
  if (spaces === undefined)
    throw bad(
      `normalizer ${brief(json.normalizer)} and pre_tokenizer ${brief(json.pre_tokenizer)} are none of the two ways of Llama 2 to write spaces`,
    )
  const strange = added.find(({ lstrip, normalized }) => lstrip || (normalized && json.normalizer))
  if (strange) throw bad(`added token ${JSON.stringify(strange.content)} is looked for in another way than llama.cpp's`)
  const strips = stripping(added)
  if (strips === 'unknown') throw bad('white space is taken away behind other added tokens than Phi-3’s')
  for (const [token, id] of Object.entries(model.vocab!)) if (byteToken.test(token)) kinds[id] = byte
  // llama.cpp looks for these in the text as it is.
  for (const { id, content } of added) tokens[id] = content.replaceAll('▁', ' ')
  const unknownId = model.vocab![model.unk_token ?? '']
  const scores = scoresOf(model, new Set(added.map(({ content }) => content)), bad)
  return {
    'tokenizer.ggml.scores': { floats: tokens.map((token) => scores.get(token) ?? -scores.size) },
    'tokenizer.ggml.add_space_prefix': spaces === 'before each',
    ...(unknownId !== undefined && { 'tokenizer.ggml.unknown_token_id': unknownId }),
    // GGUF has no field for it: llama.cpp goes by this name.
    ...(strips === 'Phi-3' && { 'general.name': 'Phi-3' }),
  }
}

/** Of each token that merges make. */
function scoresOf(model: Bpe, added: ReadonlySet<string>, bad: (message: string) => JobFailure): Map<string, number> {
  const vocabulary = model.vocab!
  const isText = (token: string): boolean => Object.hasOwn(vocabulary, token) && !added.has(token)
  const cuts = new Map<string, Set<number>>()
  let last: string | undefined
  for (const merge of model.merges ?? []) {
    const [left = '', right = ''] = typeof merge === 'string' ? merge.split(' ') : merge
    const token = left + right
    if (token !== last && cuts.has(token))
      throw bad(`the merges that make ${JSON.stringify(token)} do not stand together`)
    const known = cuts.get(token) ?? new Set()
    cuts.set(token, known.add(left.length))
    last = token
  }
  for (const token of Object.keys(vocabulary)) {
    if (!isText(token) || byteToken.test(token)) continue
    let at = 0
    for (const character of token) {
      if (at > 0 && isText(token.slice(0, at)) && isText(token.slice(at)) && !cuts.get(token)?.has(at))
        throw bad(`${JSON.stringify(token)} is not merged of ${JSON.stringify([token.slice(0, at), token.slice(at)])}`)
      at += character.length
    }
  }
  return new Map([...cuts.keys()].map((token, index) => [token, -index]))
}

function spacesOf({ normalizer = null, pre_tokenizer: before = null }: JsonObject): 'before each' | 'none' | undefined {
  if (isDeepStrictEqual({ normalizer, pre_tokenizer: before }, spaceBeforeEach)) return 'before each'
  const { type, replacement, prepend_scheme: scheme, split } = (before ?? {}) as JsonObject
  const isPlain = type === 'Metaspace' && replacement === '▁' && split === false
  return normalizer === null && isPlain && (scheme === 'first' || scheme === 'never') ? 'none' : undefined
}

/** Behind which of its added tokens a Phi-3 does not take white space away, in llama.cpp as in its tokenizer.json. */
const notStripping = ['<unk>', '<s>', '<|endoftext|>']

function stripping(added: readonly Added[]): 'none' | 'Phi-3' | 'unknown' {
  if (!added.some(({ rstrip }) => rstrip)) return 'none'
  return added.every(({ content, rstrip }) => rstrip === !notStripping.includes(content)) ? 'Phi-3' : 'unknown'
}

const brief = (value: unknown): string => JSON.stringify(value ?? null).slice(0, 150)
