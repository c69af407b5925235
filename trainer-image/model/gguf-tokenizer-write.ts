/** The tokenizer of a Hugging Face folder as llama.cpp keeps it: the reverse of gguf-tokenizer.ts. */
import { isDeepStrictEqual } from 'node:util'
import { JobFailure } from '../job/failure.ts'
import { sentencePieceMetadata } from './gguf-sentencepiece-write.ts'
import { control, preTokenizers, userDefined } from './gguf-tokenizer.ts'
import type { GgufMetadata } from './gguf-write.ts'
import { isObject, type JsonObject, readJsonObject } from './json.ts'
import type { OpenedModel } from './open.ts'

/** ggml's token types: of text, and of a row of the embedding that no token has. */
const normal = 1
const unused = 5

/** tokenizer.json's model. */
export interface Bpe {
  readonly type?: unknown
  readonly vocab?: Readonly<Record<string, number>>
  readonly merges?: readonly (string | readonly string[])[]
  readonly byte_fallback?: unknown
  readonly ignore_merges?: unknown
  readonly unk_token?: string | null
}

export interface Added {
  readonly id: number
  readonly content: string
  readonly special: boolean
  readonly normalized?: boolean
  readonly lstrip?: boolean
  readonly rstrip?: boolean
}

/** Metadata of the tokenizer.json at `path`. SourceInvalid for one that is no BPE, or that llama.cpp would cut text otherwise by. */
export async function ggufTokenizerMetadata(
  path: string,
  { architecture, generation, chatTemplate }: Pick<OpenedModel, 'architecture' | 'generation' | 'chatTemplate'>,
): Promise<GgufMetadata> {
  const json = await readJsonObject(path)
  const model = json?.model as Bpe | undefined
  if (!json || model?.type !== 'BPE' || !model.vocab)
    throw new JobFailure('SourceInvalid', `${path}: model is ${model?.type}; only BPE can be written as GGUF`)
  const added = (json.added_tokens ?? []) as readonly Added[]
  const tokens = Array.from({ length: architecture.vocabularySize }, (_, id) => `[PAD${id}]`)
  const kinds = tokens.map(() => unused)
  const put = (content: string, id: number, kind: number): void => {
    tokens[id] = content
    kinds[id] = kind
  }
  for (const [content, id] of Object.entries(model.vocab)) put(content, id, normal)
  for (const { id, content, special } of added) put(content, id, special ? control : userDefined)
  const isSentencePiece = model.byte_fallback === true
  const cutting: GgufMetadata = isSentencePiece
    ? sentencePieceMetadata(path, json, model, added, tokens, kinds)
    : {
        'tokenizer.ggml.merges': (model.merges ?? []).map((pair) => (typeof pair === 'string' ? pair : pair.join(' '))),
      }
  const { bosId, padId, endOfTurnIds } = generation
  return {
    'tokenizer.ggml.model': isSentencePiece ? 'llama' : 'gpt2',
    'tokenizer.ggml.pre': isSentencePiece ? 'default' : preTokenizerOf(path, json, model.ignore_merges === true),
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': kinds,
    ...cutting,
    'tokenizer.ggml.eos_token_id': endOfTurnIds[0]!,
    'tokenizer.ggml.add_bos_token': bosId !== undefined && beginsWithToken(json.post_processor),
    ...(bosId !== undefined && { 'tokenizer.ggml.bos_token_id': bosId }),
    ...(padId !== undefined && { 'tokenizer.ggml.padding_token_id': padId }),
    ...(chatTemplate.source !== '' && { 'tokenizer.chat_template': chatTemplate.source }),
  }
}

/** llama.cpp's name for the way in which text is cut into words. */
function preTokenizerOf(path: string, { pre_tokenizer: found, normalizer }: JsonObject, ignoreMerges: boolean): string {
  const name = Object.keys(preTokenizers).find((each) => {
    const known = preTokenizers[each]!
    return (
      isDeepStrictEqual(comparable(known.preTokenizer), comparable(found)) &&
      (known.ignoreMerges ?? false) === ignoreMerges &&
      isDeepStrictEqual(known.normalizer ?? null, normalizer ?? null)
    )
  })
  if (name) return name
  throw new JobFailure(
    'SourceInvalid',
    `${path}: pre_tokenizer ${JSON.stringify(found).slice(0, 200)} has no name in llama.cpp that is known here; known are ${Object.keys(preTokenizers).join(', ')}`,
  )
}

/** Without trim_offsets, which says where a token stood, not what it is. */
const comparable = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value ?? null, (key, field) => (key === 'trim_offsets' ? undefined : field)))

/** Whether the template that is put round a text begins with a special token. */
function beginsWithToken(processor: unknown): boolean {
  if (!isObject(processor)) return false
  const { type, processors, single } = processor
  if (type === 'Sequence') return Array.isArray(processors) && processors.some(beginsWithToken)
  const first: unknown = type === 'TemplateProcessing' && Array.isArray(single) ? single[0] : undefined
  return isObject(first) && 'SpecialToken' in first
}
