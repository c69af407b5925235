/** LoRA adapters in PEFT's format: adapter_config.json and adapter_model.safetensors, so that transformers, vLLM and PEFT read ours. */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { JobFailure } from '../job/failure.ts'
import type { AdapterTensor, Architecture } from '../native/index.ts'
import { writeFileAtomic } from '../storage/atomic.ts'
import { fieldsOf, type JsonObject, readJsonObject } from './json.ts'
import { type LinearModule, linearModules, modulePath, moduleShape, resolveTargets } from './llama.ts'
import { encodeSafetensors, readFloats, readSafetensorsHeader } from './safetensors.ts'

export const adapterConfigName = 'adapter_config.json'
export const adapterModelName = 'adapter_model.safetensors'

/** What an adapter's config says that concerns its arithmetic. */
export interface AdapterConfig {
  /** "owner/name" of the base, or its file name; for people and other tools. */
  readonly baseModel: string
  readonly rank: number
  /** The update is scaled by alpha / rank, or alpha / sqrt(rank) when rank-stabilised. */
  readonly alpha: number
  readonly dropout: number
  readonly targetModules: readonly LinearModule[]
  readonly rankStabilized: boolean
}

export interface StoredAdapter {
  readonly config: AdapterConfig
  /** In the order of expectedAdapterTensors. */
  readonly tensors: readonly AdapterTensor[]
}

/** Names and shapes of an adapter's tensors: for each layer and target lora_A [rank, in] and lora_B [out, rank]. */
export function expectedAdapterTensors(
  architecture: Architecture,
  { rank, targetModules }: Pick<AdapterConfig, 'rank' | 'targetModules'>,
): Map<string, readonly [number, number]> {
  const shapes = new Map<string, readonly [number, number]>()
  for (let layer = 0; layer < architecture.layers; layer++)
    for (const module of targetModules) {
      const [out, inner] = moduleShape(architecture, module)
      const path = `base_model.model.${modulePath(layer, module)}`
      shapes.set(`${path}.lora_A.weight`, [rank, inner])
      shapes.set(`${path}.lora_B.weight`, [out, rank])
    }
  return shapes
}

/**
 * adapter_config.json as PEFT writes it: indent 2, sorted keys. Only fields that every PEFT since 0.6 knows: old readers fail on unknown ones.
 */
export function adapterConfigJson(config: AdapterConfig): string {
  const fields = {
    alpha_pattern: {},
    auto_mapping: null,
    base_model_name_or_path: config.baseModel,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: config.alpha,
    lora_dropout: config.dropout,
    modules_to_save: null,
    peft_type: 'LORA',
    r: config.rank,
    rank_pattern: {},
    revision: null,
    target_modules: config.targetModules.toSorted(),
    task_type: 'CAUSAL_LM',
    ...(config.rankStabilized && { use_rslora: true }),
  }
  return `${JSON.stringify(fields, null, 2)}\n`
}

/** adapter_model.safetensors: float32, with the metadata that PEFT's reader asks for. The bytes depend on the tensors alone. */
export function adapterModelBytes(tensors: readonly AdapterTensor[]): Uint8Array[] {
  const stored = tensors.map(({ name, shape, data }) => ({
    name,
    dtype: 'F32' as const,
    shape,
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  }))
  return encodeSafetensors(stored, { format: 'pt' })
}

/** Writes both files, each atomically; sealing the folder is the caller's. */
export async function writeAdapter(directory: string, { config, tensors }: StoredAdapter): Promise<void> {
  await writeFileAtomic(join(directory, adapterModelName), adapterModelBytes(tensors))
  await writeFileAtomic(join(directory, adapterConfigName), adapterConfigJson(config))
}

/** Reads an adapter and proves that it fits the model: every tensor there, by name and shape, none too many. */
export async function readAdapter(directory: string, architecture: Architecture): Promise<StoredAdapter> {
  const config = await readAdapterConfig(join(directory, adapterConfigName), architecture)
  const path = join(directory, adapterModelName)
  const file = await readSafetensorsHeader(path).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENOENT' ? new JobFailure('NotFound', `${path} is missing`) : error
  })
  const bad = (message: string) => new JobFailure('SourceInvalid', `${path}: ${message}`)
  const expected = expectedAdapterTensors(architecture, config)
  for (const name of file.tensors.keys())
    if (!expected.has(name))
      throw bad(`tensor ${name} belongs to no target of this adapter; targets are ${config.targetModules.join(', ')}`)
  for (const [name, shape] of expected) {
    const tensor = file.tensors.get(name)
    if (!tensor) throw bad(`tensor ${name} is missing; expected it with shape [${shape.join(', ')}]`)
    if (tensor.shape.join() !== shape.join())
      throw bad(`tensor ${name} has shape [${tensor.shape.join(', ')}]; expected [${shape.join(', ')}]`)
  }
  const handle = await open(path)
  try {
    const tensors: AdapterTensor[] = []
    for (const [name, shape] of expected) tensors.push({ name, shape, data: await readFloats(file, name, handle) })
    return { config, tensors }
  } finally {
    await handle.close()
  }
}

/** Features of PEFT that change the arithmetic and that we do not have: present and not at their neutral value is refused. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  bias: ['none'],
  fan_in_fan_out: [false],
  layers_to_transform: [null],
  layer_replication: [null],
  lora_bias: [false],
  modules_to_save: [null],
  target_parameters: [null],
  trainable_token_indices: [null],
  use_dora: [false],
}

async function readAdapterConfig(path: string, architecture: Architecture): Promise<AdapterConfig> {
  const json = await readJsonObject(path)
  if (!json) throw new JobFailure('NotFound', `${path} is missing`)
  const fields = fieldsOf(path, json)
  if (fields.string('peft_type') !== 'LORA') throw fields.wrong('peft_type', '"LORA"')
  refuseFeatures(path, json)
  const rank = fields.number('r')
  if (!Number.isInteger(rank) || rank < 1) throw fields.wrong('r', 'a whole number from 1')
  return {
    baseModel: fields.string('base_model_name_or_path', ''),
    rank,
    alpha: fields.number('lora_alpha'),
    dropout: fields.number('lora_dropout', 0),
    targetModules: targetsOf(path, json, architecture),
    rankStabilized: fields.boolean('use_rslora', false),
  }
}

function refuseFeatures(path: string, json: JsonObject): void {
  for (const [field, neutral] of Object.entries(NEUTRAL)) {
    const value = json[field]
    if (value !== undefined && !neutral.includes(value) && JSON.stringify(value) !== '[]')
      throw new JobFailure(
        'SourceInvalid',
        `${path}: ${field} is ${JSON.stringify(value)}; supported is ${JSON.stringify(neutral[0])}`,
      )
  }
  for (const field of ['rank_pattern', 'alpha_pattern'])
    if (Object.keys((json[field] as object | null | undefined) ?? {}).length > 0)
      throw new JobFailure('SourceInvalid', `${path}: ${field} is ${JSON.stringify(json[field])}; supported is {}`)
}

/** PEFT also writes "all-linear" as it was asked for when nothing resolved it. */
function targetsOf(path: string, json: JsonObject, architecture: Architecture): readonly LinearModule[] {
  if (json.target_modules === 'all-linear') return linearModules(architecture)
  const targets = fieldsOf(path, json).strings('target_modules')
  try {
    return resolveTargets(architecture, targets)
  } catch (error) {
    throw new JobFailure('SourceInvalid', `${path}: ${(error as Error).message}`, { cause: error })
  }
}
