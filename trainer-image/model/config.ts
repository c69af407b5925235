/** Hugging Face's config.json, read as an architecture. What this project cannot train is refused here, with words. */
import { JobFailure } from '../job/failure.ts'
import type { Architecture } from '../native/index.ts'
import { type Fields, fieldsOf, isObject, type JsonObject } from './json.ts'
import { checkArchitecture } from './llama.ts'

export const supportedArchitectures = ['LlamaForCausalLM'] as const

/** Reads config.json (already parsed) of `path`. Defaults are those of transformers' LlamaConfig. */
export function architectureOf(path: string, config: JsonObject): Architecture {
  const fields = fieldsOf(path, config)
  refuseUnsupported(path, config, fields)
  const hiddenSize = fields.number('hidden_size')
  const heads = fields.number('num_attention_heads')
  const ropeScaling = ropeScalingOf(path, config, fields)
  return checkArchitecture(
    {
      family: 'llama',
      hiddenSize,
      intermediateSize: fields.number('intermediate_size'),
      layers: fields.number('num_hidden_layers'),
      heads,
      keyValueHeads: fields.number('num_key_value_heads', heads),
      headSize: fields.number('head_dim', hiddenSize / heads),
      vocabularySize: fields.number('vocab_size'),
      rmsNormEpsilon: fields.number('rms_norm_eps', 1e-6),
      ropeTheta: ropeThetaOf(path, fields),
      ...(ropeScaling && { ropeScaling }),
      tiedEmbeddings: fields.boolean('tie_word_embeddings', false),
      maxPositions: fields.number('max_position_embeddings', 2048),
      attentionBias: fields.boolean('attention_bias', false),
    },
    path,
  )
}

function refuseUnsupported(path: string, config: JsonObject, fields: Fields): void {
  const names = fields.strings('architectures', [])
  if (!names.some((name) => supportedArchitectures.some((supported) => supported === name)))
    throw new JobFailure(
      'SourceInvalid',
      `${path}: architecture ${names.join(', ') || `model_type ${JSON.stringify(config.model_type)}`} is not supported; ` +
        `supported is ${supportedArchitectures.join(', ')}`,
    )
  if (isObject(config.quantization_config))
    throw new JobFailure(
      'SourceInvalid',
      `${path}: quantization_config ${JSON.stringify(config.quantization_config.quant_method)} is not supported; ` +
        'expected an unquantised folder (it is quantised on loading) or a GGUF file',
    )
  const activation = fields.string('hidden_act', 'silu')
  if (activation !== 'silu') throw fields.wrong('hidden_act', '"silu"')
  if (fields.boolean('mlp_bias', false)) throw fields.wrong('mlp_bias', 'false')
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
