/** The tokenizer inside a GGUF file, written as the tokenizer.json that it was made from. */
import { JobFailure } from '../job/failure.ts'
import type { GgufFile } from './gguf.ts'
import { metadataOf } from './gguf-llama.ts'
import type { JsonObject } from './json.ts'

/** ggml's token types. */
export const control = 3
export const userDefined = 4

const byteLevel = (useRegex: boolean) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
})

/** Words as Llama 3 and Qwen2 cut them; they differ in how many digits stand together. */
const words = (digits: string): JsonObject => ({
  type: 'Sequence',
  pretokenizers: [
    {
      type: 'Split',
      pattern: {
        Regex: `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
      },
      behavior: 'Isolated',
      invert: false,
    },
    byteLevel(false),
  ],
})

interface PreTokenizer {
  readonly preTokenizer: JsonObject
  readonly ignoreMerges?: boolean
  readonly normalizer?: JsonObject
}

const llama3: PreTokenizer = { preTokenizer: words('\\p{N}{1,3}'), ignoreMerges: true }

/** What tokenizer.ggml.pre stands for: how text is cut into words before merging. */
export const preTokenizers: Readonly<Record<string, PreTokenizer>> = {
  'gpt-2': { preTokenizer: byteLevel(true) },
  smollm: {
    preTokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel(true)] },
  },
  'llama-bpe': llama3,
  'llama-v3': llama3,
  llama3,
  qwen2: { preTokenizer: words('\\p{N}'), normalizer: { type: 'NFC' } },
}

/** tokenizer.json's content for a file with a byte-level BPE ("gpt2") tokenizer. */
export function ggufTokenizerJson(file: GgufFile): JsonObject {
  const { path } = file
  const metadata = metadataOf(file)
  const bad = (message: string) => new JobFailure('SourceInvalid', `${path}: ${message}`)
  const kind = metadata.string('tokenizer.ggml.model')
  if (kind !== 'gpt2')
    throw bad(`tokenizer.ggml.model "${kind}" is not supported; supported is "gpt2" (byte-level BPE)`)
  const name = metadata.string('tokenizer.ggml.pre', 'default')
  const pre = Object.hasOwn(preTokenizers, name) ? preTokenizers[name] : undefined
  if (!pre)
    throw bad(`tokenizer.ggml.pre "${name}" is not supported; supported are ${Object.keys(preTokenizers).join(', ')}`)
  const tokens = metadata.strings('tokenizer.ggml.tokens')
  const types = metadata.numbers('tokenizer.ggml.token_type')
  if (types.length !== tokens.length)
    throw bad(`tokenizer.ggml.token_type has ${types.length} entries; expected one for each of ${tokens.length} tokens`)
  const added = tokens.flatMap((content, id) =>
    types[id] === control || types[id] === userDefined
      ? [
          {
            id,
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: types[id] === control,
          },
        ]
      : [],
  )
  return {
    version: '1.0',
    added_tokens: added,
    normalizer: pre.normalizer ?? null,
    pre_tokenizer: pre.preTokenizer,
    post_processor: null,
    decoder: byteLevel(true),
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: metadata.strings('tokenizer.ggml.merges'),
      ignore_merges: pre.ignoreMerges ?? false,
      byte_fallback: false,
    },
  }
}
