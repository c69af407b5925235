import type { Logger } from 'pino'
import type { ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import { onDevice } from '../job/device.ts'
import { JobFailure } from '../job/failure.ts'
import { requireForm } from '../model/bnb-4bit.ts'
import type { ChatTemplate, Message } from '../model/chat-template.ts'
import { computePathOf } from '../model/compute-dtype.ts'
import { modelPath } from '../model/fetch.ts'
import { requireModel } from '../model/identity.ts'
import { openModel } from '../model/open.ts'
import type { Tokenizer } from '../model/tokenizer.ts'
import { type ComputePath, loadModel, type Model, type Quantization } from '../native/index.ts'
import type { AdapterBase } from '../storage/adapter-identity.ts'
import { templateDate } from '../train/example.ts'
import { threadsOfQuota } from '../train/threads.ts'
import { invalid } from './errors.ts'
import type { TextStream } from './generation.ts'
import type { LoadedAdapter } from './lease.ts'

/** Of an absent block_size, as in training. */
export const DEFAULT_BLOCK_SIZE = 64

/** The base model as serving uses it: weights in the engine, its tokenizer and chat template. */
export interface Base {
  readonly model: Model
  /** The kernels that it computes with. */
  readonly instructionPath: ComputePath
  /** "owner/name" or the file name. */
  readonly name: string
  /** What an adapter must have been trained on. */
  readonly identity: AdapterBase
  readonly vocabularySize: number
  /** Tokens of prompt and answer together. */
  readonly contextTokens: number
  /** Tokens that end an answer; never empty. */
  readonly endIds: ReadonlySet<number>
  /** Special tokens that stand in the text become single ids; none is added. Of a text beyond the context, only enough. */
  encode(text: string): Int32Array
  /**
   * The prompt up to where the assistant answers, as the adapter was trained: its template, the base's own when absent, and
   * what that sees as today, the usual date when absent. Throws 400 for messages that the template refuses.
   */
  renderChat(messages: readonly Message[], trained?: Pick<LoadedAdapter, 'chatTemplate' | 'templateDate'>): Int32Array
  textStream(): TextStream
  /** The text of one token alone; U+FFFD where it is no whole character. */
  tokenText(id: number): string
}

/** Opens the base that the configuration names and loads its weights, which must be those of its digest. */
export async function openBase(config: ServeConfig, dataDir: string, log: Logger): Promise<Base> {
  const { model: resolved, backend, maxContextTokens } = config
  if (!resolved || resolved.path === '') throw required('model.path', 'the folder or .gguf file of the base')
  const device = onDevice(backend)
  const quantization = quantizationOf(config)
  const path = modelPath(dataDir, resolved.path)
  const opened = await openModel(path)
  requireForm(resolved.name, opened.quantization, quantization)
  const { tokenizer, chatTemplate, generation, architecture } = opened
  if (maxContextTokens > generation.maxPositions) {
    throw new JobFailure(
      'ConfigurationInvalid',
      `serving.maxContextTokens is ${maxContextTokens}, expected at most ${generation.maxPositions}, the model's own limit`,
    )
  }
  const began = performance.now()
  // Both read the same bytes, so the sum costs little beside the load.
  const isTheOne = requireModel(opened, resolved.digest, resolved.path)
  isTheOne.catch(() => undefined) // thrown below
  const instructionPath = computePathOf(device, config.quantization?.computeDtype ?? '')
  const options = { quantization, threads: threadsOfQuota(), instructionPath }
  const model = await loadModel(architecture, opened.tensors, options)
  try {
    await isTheOne
  } catch (error) {
    model.close()
    throw error
  }
  log.info(
    { seconds: (performance.now() - began) / 1000, instructionPath, ...model.memory() },
    `loaded ${resolved.name}`,
  )
  const contextTokens = maxContextTokens || generation.maxPositions
  let newest = chatTemplate
  const templateFor = (source: string): ChatTemplate => {
    if (source === chatTemplate.source) return chatTemplate
    if (source !== newest.source) newest = opened.templateOf('the adapter', source)
    return newest
  }
  const encode = (text: string): Int32Array => encodeWithin(tokenizer, text, contextTokens)
  return {
    model,
    instructionPath,
    name: resolved.name,
    identity: { digest: resolved.digest, quantization },
    vocabularySize: architecture.vocabularySize,
    contextTokens,
    endIds: new Set(generation.endOfTurnIds),
    encode,
    renderChat(messages, trained = {}) {
      let text: string
      try {
        const template = templateFor(trained.chatTemplate ?? chatTemplate.source)
        const dateString = trained.templateDate ?? templateDate
        text = template.render(messages, { addGenerationPrompt: true, dateString })
      } catch (error) {
        throw invalid('messages', `The model's chat template refuses them: ${(error as Error).message}`)
      }
      return encode(text)
    },
    textStream: () => tokenizer.decodeStream(),
    tokenText: (id) => tokenizer.decode([id], false),
  }
}

/**
 * The tokens of a text, or of so much of it that they are more than `limit`: encoding megabytes that are refused anyway
 * would keep everyone else waiting.
 */
export function encodeWithin(tokenizer: Pick<Tokenizer, 'encode'>, text: string, limit: number): Int32Array {
  for (let length = limit * LIKELY_CHARACTERS; length < text.length; length *= 2) {
    const head = tokenizer.encode(text.slice(0, length))
    if (head.length > limit + CUT_TOKENS) return head
  }
  return tokenizer.encode(text)
}

/** Characters of a token in text that uses its context well; prose has four to five. */
const LIKELY_CHARACTERS = 8
/** A cut through a word can make more tokens of its beginning than the whole has; never this many. */
const CUT_TOKENS = 64

function quantizationOf({ quantization }: ServeConfig): Quantization {
  if (!quantization) throw required('quantization', 'how the base is kept in memory')
  const { type, blockSize, doubleQuantization } = quantization
  if (type !== 'NF4' && type !== 'None') {
    throw new JobFailure('ConfigurationInvalid', `quantization.type is "${type}", expected "NF4" or "None"`)
  }
  return { type, blockSize: blockSize || DEFAULT_BLOCK_SIZE, doubleQuantization }
}

const required = (field: string, what: string): JobFailure =>
  new JobFailure('ConfigurationInvalid', `${field} is absent, expected ${what}`)
