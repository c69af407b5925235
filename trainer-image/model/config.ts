/** Hugging Face's config.json, read as an architecture. What this project cannot train is refused here, with words. */
import { JobFailure } from '../job/failure.ts'
import type { Architecture } from '../native/index.ts'
import { isBnb4bit } from './bnb-4bit.ts'
import { type Fields, fieldsOf, isObject, type JsonObject } from './json.ts'
import { checkArchitecture } from './llama.ts'

/** What one class of transformers makes of the same layers: its defaults, its biases, and what it has that the engine has not. */
interface Family {
  /** general.architecture of its GGUF files. */
  readonly ggml: string
  readonly maxPositions: number
  /** Key-value heads where config.json does not name them; absent: as many as heads. */
  readonly keyValueHeads?: number
  readonly rmsNormEpsilon?: number
  readonly fusedProjections?: true
  readonly biases?: (fields: Fields) => Pick<Architecture, 'qkvBias' | 'outputBias'>
  /** How many tokens a position sees at most, itself included. */
  readonly window?: (fields: Fields) => number
  readonly refuse?: (fields: Fields) => void
}

const families: Readonly<Record<string, Family>> = {
  LlamaForCausalLM: {
    ggml: 'llama',
    maxPositions: 2048,
    biases: (fields) => {
      const attention = fields.boolean('attention_bias', false)
      return { qkvBias: attention, outputBias: attention }
    },
    refuse: (fields) => {
      if (fields.boolean('mlp_bias', false)) throw fields.wrong('mlp_bias', 'false')
    },
  },
  MistralForCausalLM: {
    ggml: 'llama',
    maxPositions: 131_072,
    keyValueHeads: 8,
    window: (fields) => fields.numberOrNull('sliding_window', 4096, Number.MAX_VALUE),
  },
  Phi3ForCausalLM: {
    ggml: 'phi3',
    maxPositions: 4096,
    rmsNormEpsilon: 1e-5,
    fusedProjections: true,
    window: (fields) => fields.number('sliding_window', Number.MAX_VALUE),
  },
  Qwen2ForCausalLM: {
    ggml: 'qwen2',
    maxPositions: 32_768,
    keyValueHeads: 32,
    biases: () => ({ qkvBias: true, outputBias: false }),
    refuse: (fields) => {
      if (fields.boolean('use_sliding_window', false))
        throw fields.wrong('use_sliding_window', 'false: every position sees all before it here')
    },
  },
}

export const supportedArchitectures = Object.keys(families)

/**
 * Reads config.json (already parsed) of `path`. Defaults are those of the family's configuration class in transformers. Attention here sees every
 * position before, so a model with a sliding window has as many positions as its window, where both are the same.
 */
export function architectureOf(path: string, config: JsonObject): Architecture {
  const fields = fieldsOf(path, config)
  const family = familyOf(path, config, fields)
  refuseUnsupported(path, config, fields)
  const hiddenSize = fields.number('hidden_size')
  const heads = fields.number('num_attention_heads')
  const ropeScaling = ropeScalingOf(path, config, fields)
  family.refuse?.(fields)
  return checkArchitecture(
    {
      family: 'llama',
      hiddenSize,
      intermediateSize: fields.number('intermediate_size'),
      layers: fields.number('num_hidden_layers'),
      heads,
      keyValueHeads: fields.numberOrNull('num_key_value_heads', family.keyValueHeads ?? heads, heads),
      headSize: fields.number('head_dim', hiddenSize / heads),
      vocabularySize: fields.number('vocab_size'),
      rmsNormEpsilon: fields.number('rms_norm_eps', family.rmsNormEpsilon ?? 1e-6),
      ropeTheta: ropeThetaOf(path, fields),
      ...(ropeScaling && { ropeScaling }),
      tiedEmbeddings: fields.boolean('tie_word_embeddings', false),
      maxPositions: Math.min(
        fields.number('max_position_embeddings', family.maxPositions),
        family.window?.(fields) ?? Number.MAX_VALUE,
      ),
      qkvBias: false,
      outputBias: false,
      ...family.biases?.(fields),
      fusedProjections: family.fusedProjections ?? false,
    },
    path,
  )
}

/** What llama.cpp calls the architecture. */
export const ggmlArchitectureOf = (path: string, config: JsonObject): string =>
  familyOf(path, config, fieldsOf(path, config)).ggml

function familyOf(path: string, config: JsonObject, fields: Fields): Family {
  const names = fields.strings('architectures', [])
  const name = names.find((candidate) => Object.hasOwn(families, candidate))
  if (name !== undefined) return families[name]!
  throw new JobFailure(
    'SourceInvalid',
    `${path}: architecture ${names.join(', ') || `model_type ${JSON.stringify(config.model_type)}`} is not supported; ` +
      `supported are ${supportedArchitectures.join(', ')}`,
  )
}

function refuseUnsupported(path: string, config: JsonObject, fields: Fields): void {
  isBnb4bit(path, config) // throws for what else it may be
  const activation = fields.string('hidden_act', 'silu')
  if (activation !== 'silu') throw fields.wrong('hidden_act', '"silu"')
  if (fields.strings('layer_types', []).some((type) => type !== 'full_attention'))
    throw fields.wrong('layer_types', 'only "full_attention"')
  for (const dropout of ['attention_dropout', 'resid_pdrop', 'embd_pdrop'])
    if (fields.number(dropout, 0) !== 0) throw fields.wrong(dropout, '0: nothing is dropped inside the base')
  for (const rotary of [fields, ropeParameters(path, fields)])
    if (rotary && rotary.number('partial_rotary_factor', 1) !== 1)
      throw rotary.wrong('partial_rotary_factor', '1: the whole head is rotated here')
}

/** transformers 5 moved rope_theta and rope_scaling into rope_parameters; both forms are read. */
const ropeParameters = (path: string, fields: Fields): Fields | undefined => {
  const parameters = fields.object('rope_parameters')
  return parameters && fieldsOf(`${path}: rope_parameters`, parameters)
}

const ropeThetaOf = (path: string, fields: Fields): number => {
  const fallback = fields.number('rope_theta', 10_000)
  return ropeParameters(path, fields)?.number('rope_theta', fallback) ?? fallback
}

function ropeScalingOf(path: string, config: JsonObject, fields: Fields): Architecture['ropeScaling'] {
  const field = isObject(config.rope_parameters) ? 'rope_parameters' : 'rope_scaling'
  const parameters = fields.object(field)
  if (!parameters) return undefined
  const scaling = fieldsOf(`${path}: ${field}`, parameters)
  const type = scaling.string('rope_type', scaling.string('type', 'default'))
  if (type === 'default') return undefined
  if (type !== 'llama3')
    throw new JobFailure('SourceInvalid', `${path}: ${field} has type "${type}"; supported are "default" and "llama3"`)
  return {
    type,
    factor: scaling.number('factor'),
    lowFrequencyFactor: scaling.number('low_freq_factor'),
    highFrequencyFactor: scaling.number('high_freq_factor'),
    originalMaxPositions: scaling.number('original_max_position_embeddings'),
  }
}
