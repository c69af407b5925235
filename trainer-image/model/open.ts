/** Opens a base model: a Hugging Face folder or a GGUF file. Headers are read and everything is checked; weights stay on disk. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { JobFailure } from '../job/failure.ts'
import type { Architecture, Quantization, TensorSource } from '../native/index.ts'
import { bnb4bitSources, isBnb4bit } from './bnb-4bit.ts'
import { type ChatTemplate, createChatTemplate, type TemplateTokens } from './chat-template.ts'
import { architectureOf, ggmlArchitectureOf } from './config.ts'
import { type GgufFile, readGguf } from './gguf.ts'
import { ggufArchitecture, ggufTensors, metadataOf } from './gguf-llama.ts'
import { ggufTokenizerJson } from './gguf-tokenizer.ts'
import { fieldsOf, isObject, type JsonObject, readJsonObject } from './json.ts'
import { expectedTensors } from './llama.ts'
import { floatSources, readTensorIndex } from './safetensors-folder.ts'
import { createTokenizer, type Tokenizer } from './tokenizer.ts'

export interface Generation {
  /** Any of these ends an answer; never empty. */
  readonly endOfTurnIds: readonly number[]
  readonly bosId?: number
  readonly padId?: number
  /** Tokens of the longest sequence. */
  readonly maxPositions: number
}

export interface OpenedModel {
  readonly architecture: Architecture
  /** general.architecture of llama.cpp. */
  readonly ggmlArchitecture: string
  /** Exactly the tensors that the architecture needs, each with the right shape. */
  readonly tensors: readonly TensorSource[]
  /** Of a base that was saved in 4 bits: the only form in which it can be used. */
  readonly quantization?: Quantization
  readonly tokenizer: Tokenizer
  /** Refuses to render when the model has none and none was given: see requireTemplate. */
  readonly chatTemplate: ChatTemplate
  /** Another template for this tokenizer; `name` is what its errors call it. */
  templateOf(name: string, source: string): ChatTemplate
  readonly generation: Generation
  /** Files that make up the model, by name; the model's digest is taken over their sums. */
  readonly files: readonly { readonly name: string; readonly path: string }[]
}

const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'generation_config.json',
] as const

/**
 * Opens a model. `path` is a folder with config.json, a folder that holds one .gguf file, or a .gguf file. Failures: NotFound when nothing is
 * there, SourceInvalid that names tensor, shape and expectation (or file and field) when something is wrong with it. `chatTemplate` is one to
 * use in place of the model's own.
 */
export async function openModel(path: string, chatTemplate?: string): Promise<OpenedModel> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    throw new JobFailure(
      'NotFound',
      `${path}: there is no such model; expected a folder with config.json, or a .gguf file`,
    )
  })
  if (found.isFile()) return openGguf(path, chatTemplate)
  const config = await readJsonObject(join(path, 'config.json'))
  if (config) return openFolder(path, config, chatTemplate)
  const ggufs = (await readdir(path)).filter((name) => name.endsWith('.gguf'))
  if (ggufs.length !== 1)
    throw new JobFailure(
      'SourceInvalid',
      `${path}: has no config.json and ${ggufs.length} .gguf files; expected config.json or one .gguf`,
    )
  return openGguf(join(path, ggufs[0]!), chatTemplate)
}

async function openFolder(path: string, config: JsonObject, template: string | undefined): Promise<OpenedModel> {
  const architecture = architectureOf(join(path, 'config.json'), config)
  const { tensors: stored, files } = await readTensorIndex(path)
  const saved = isBnb4bit(join(path, 'config.json'), config)
    ? await bnb4bitSources(path, stored)
    : { tensors: floatSources(stored) }
  const tokenizerPath = join(path, 'tokenizer.json')
  const tokenizerJson = await readJsonObject(tokenizerPath)
  if (!tokenizerJson)
    throw new JobFailure(
      'SourceInvalid',
      `${tokenizerPath} is missing; expected the tokenizer of a fast tokenizer class`,
    )
  const tokenizer = createTokenizer(tokenizerPath, tokenizerJson)
  const configPath = join(path, 'tokenizer_config.json')
  const tokenizerConfig = (await readJsonObject(configPath)) ?? {}
  const generationPath = join(path, 'generation_config.json')
  const generation = fieldsOf(generationPath, (await readJsonObject(generationPath)) ?? {})
  const model = fieldsOf(join(path, 'config.json'), config)
  const tokens = namedTokens(configPath, tokenizerConfig)
  const first = (ids: number[], name: string | undefined) =>
    ids[0] ?? (name === undefined ? undefined : tokenizer.idOf(name))
  const names = ['config.json', ...TOKENIZER_FILES, ...files]
  const present = await readdir(path)
  return proven(path, {
    architecture,
    ggmlArchitecture: ggmlArchitectureOf(join(path, 'config.json'), config),
    ...saved,
    tokenizer,
    ...templates(path, template, await templateSource(path, tokenizerConfig), tokens),
    generation: generationOf(architecture, {
      ends: [...idsOf(tokenizer, tokens.eos), ...generation.ids('eos_token_id'), ...model.ids('eos_token_id')],
      bos: first([...generation.ids('bos_token_id'), ...model.ids('bos_token_id')], tokens.bos),
      pad: first([...generation.ids('pad_token_id'), ...model.ids('pad_token_id')], tokens.pad),
    }),
    files: names.filter((name) => present.includes(name)).map((name) => ({ name, path: join(path, name) })),
  })
}

async function openGguf(path: string, template: string | undefined): Promise<OpenedModel> {
  const file: GgufFile = await readGguf(path)
  const metadata = metadataOf(file)
  const architecture = await ggufArchitecture(file)
  const tokenizer = createTokenizer(path, ggufTokenizerJson(file))
  const tokens = metadata.strings('tokenizer.ggml.tokens')
  const id = (name: string): number | undefined =>
    metadata.has(`tokenizer.ggml.${name}_token_id`) ? metadata.number(`tokenizer.ggml.${name}_token_id`) : undefined
  const text = (name: string): string | undefined => tokens[id(name) ?? -1]
  const own = metadata.has('tokenizer.chat_template') ? metadata.string('tokenizer.chat_template') : undefined
  return proven(path, {
    architecture,
    ggmlArchitecture: metadata.string('general.architecture'),
    tensors: ggufTensors(file, architecture),
    tokenizer,
    ...templates(
      path,
      template,
      own,
      defined({ bos: text('bos'), eos: text('eos'), pad: text('padding'), unknown: text('unknown') }),
    ),
    generation: generationOf(architecture, {
      ends: ['eos', 'eot', 'eom'].map(id).filter((end) => end !== undefined),
      bos: id('bos'),
      pad: id('padding'),
    }),
    files: [{ name: basename(path), path }],
  })
}

/** Leaves out what is undefined, as exact optional fields want it. */
const defined = <T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never

const idsOf = (tokenizer: Tokenizer, token: string | undefined): number[] => {
  const id = token === undefined ? undefined : tokenizer.idOf(token)
  return id === undefined ? [] : [id]
}

const generationOf = (
  { maxPositions }: Architecture,
  { ends, bos, pad }: { ends: number[]; bos: number | undefined; pad: number | undefined },
): Generation => ({
  endOfTurnIds: [...new Set(ends)],
  ...(bos !== undefined && { bosId: bos }),
  ...(pad !== undefined && { padId: pad }),
  maxPositions,
})

/** Names of special tokens; older files write a token as an object with "content". */
function namedTokens(path: string, config: JsonObject): TemplateTokens {
  const name = (field: string): string | undefined => {
    const value = config[field]
    const text = isObject(value) ? value.content : value
    if (text === undefined || text === null) return undefined
    if (typeof text !== 'string')
      throw new JobFailure('SourceInvalid', `${path}: ${field} is ${JSON.stringify(value)}; expected a token`)
    return text
  }
  return defined({
    bos: name('bos_token'),
    eos: name('eos_token'),
    pad: name('pad_token'),
    unknown: name('unk_token'),
  }) as TemplateTokens
}

const noTemplate = (path: string) =>
  new JobFailure(
    'SourceInvalid',
    `${path}: the tokenizer has no chat template; expected an instruction-tuned model, or spec.format.chatTemplate of the dataset`,
  )

function templates(
  path: string,
  given: string | undefined,
  own: string | undefined,
  tokens: TemplateTokens,
): Pick<OpenedModel, 'chatTemplate' | 'templateOf'> {
  const templateOf = (name: string, source: string) => createChatTemplate(name, source, tokens)
  const refusing: ChatTemplate = {
    source: '',
    render: () => {
      throw noTemplate(path)
    },
  }
  const ofModel = () => (own === undefined ? refusing : templateOf(path, own))
  return { chatTemplate: given ? templateOf('spec.format.chatTemplate', given) : ofModel(), templateOf }
}

/** For work that renders prompts: SourceInvalid when there is nothing to render them with. */
export function requireTemplate(path: string, opened: OpenedModel): OpenedModel {
  if (opened.chatTemplate.source === '') throw noTemplate(path)
  return opened
}

/** chat_template.jinja wins over tokenizer_config.json, as in transformers; of several named templates the one called "default". */
async function templateSource(path: string, config: JsonObject): Promise<string | undefined> {
  const file = await readFile(join(path, 'chat_template.jinja'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  const field = config.chat_template
  const source =
    file ?? (Array.isArray(field) ? field.find((t) => isObject(t) && t.name === 'default')?.template : field)
  return typeof source === 'string' ? source : undefined
}

/** The last check: every tensor that the architecture needs is there and has its shape, and the ids fit the embedding. */
function proven(path: string, model: OpenedModel): OpenedModel {
  const bad = (message: string) => new JobFailure('SourceInvalid', `${path}: ${message}`)
  const { architecture, tokenizer, generation } = model
  const byName = new Map(model.tensors.map((tensor) => [tensor.name, tensor]))
  const tensors = [...expectedTensors(architecture)].map(([name, shape]) => {
    const tensor = byName.get(name)
    if (!tensor) throw bad(`tensor ${name} is missing; expected it with shape [${shape.join(', ')}]`)
    if (tensor.shape.join() !== shape.join())
      throw bad(`tensor ${name} has shape [${tensor.shape.join(', ')}]; expected [${shape.join(', ')}]`)
    return tensor
  })
  if (tokenizer.vocabularySize > architecture.vocabularySize)
    throw bad(
      `the tokenizer has ids up to ${tokenizer.vocabularySize - 1} but the embedding has ${architecture.vocabularySize} rows`,
    )
  if (generation.endOfTurnIds.length === 0) throw bad('no end-of-sequence token is named; expected eos_token_id')
  for (const id of generation.endOfTurnIds)
    if (id >= architecture.vocabularySize)
      throw bad(`eos_token_id ${id} is not in the vocabulary of ${architecture.vocabularySize}`)
  return { ...model, tensors }
}
