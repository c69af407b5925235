/**
 * Folders whose linear layers bitsandbytes saved in 4 bits (QuantState.as_dict): the codes of P.weight lie in a U8 tensor of that name, the
 * scales, their tables and a small JSON text in tensors beside it. They are taken over as they are, never quantised anew; modules that the
 * maker kept in 16 bits stay so.
 */
import { open } from 'node:fs/promises'
import { JobFailure } from '../job/failure.ts'
import type { FilePart, Nf4Parts, Quantization, TensorSource } from '../native/index.ts'
import { type Fields, fieldsOf, isObject, type JsonObject } from './json.ts'
import { readFully } from './safetensors.ts'
import { type FolderTensor, floatSources } from './safetensors-folder.ts'

/** Ends the name of a weight's JSON text. */
const STATE = '.quant_state.bitsandbytes__'
/** Ends the name of what lies beside a weight and is no tensor of the model. */
const PART = /\.weight\.\w+$/
/** The text is a few hundred bytes; a stranger's file may say anything. */
const MAX_STATE_BYTES = 4096
/** Scales that share one of the second level: bitsandbytes has no other. */
const NESTED_BLOCK = 256
/** The largest block of the engine and of bitsandbytes. */
const MAX_BLOCK = 4096

/**
 * Whether config.json says that the folder was saved in 4 bits. Of its quantization_config everything but bitsandbytes' NF4 in bytes is
 * SourceInvalid, naming field, value and expectation. Absent fields have the defaults of transformers' BitsAndBytesConfig.
 */
export function isBnb4bit(path: string, config: JsonObject): boolean {
  if (!isObject(config.quantization_config)) return false
  const fields = fieldsOf(`${path}: quantization_config`, config.quantization_config)
  if (fields.string('quant_method', '') !== 'bitsandbytes')
    throw fields.wrong('quant_method', '"bitsandbytes": an unquantised folder or a GGUF file is read too')
  if (fields.boolean('load_in_8bit', false) || !fields.boolean('load_in_4bit', false))
    throw fields.wrong(
      'load_in_4bit',
      'true, with load_in_8bit false: of bitsandbytes’ forms only the one in 4 bits is read',
    )
  if (fields.string('bnb_4bit_quant_type', 'fp4') !== 'nf4') throw fields.wrong('bnb_4bit_quant_type', '"nf4"')
  if (fields.string('bnb_4bit_quant_storage', 'uint8') !== 'uint8')
    throw fields.wrong('bnb_4bit_quant_storage', '"uint8"')
  return true
}

/** The tensors of such a folder, and the one form that all its 4-bit weights have. `path` is the folder, for messages. */
export async function bnb4bitSources(
  path: string,
  stored: readonly FolderTensor[],
): Promise<{ tensors: TensorSource[]; quantization: Quantization }> {
  const byName = new Map(stored.map((tensor) => [tensor.name, tensor]))
  const weights: { source: TensorSource; quantization: Quantization }[] = []
  for (const state of stored) {
    const [name, type] = state.name.split(STATE)
    if (name === undefined || type === undefined) continue
    if (type !== 'nf4')
      throw new JobFailure('SourceInvalid', `${path}: ${name} is saved as bitsandbytes ${type}; expected nf4`)
    weights.push(await weightOf(path, name, state, byName))
  }
  const first = weights[0]
  if (!first)
    throw new JobFailure(
      'SourceInvalid',
      `${path}: config.json says load_in_4bit but no tensor is; expected *${STATE}nf4`,
    )
  for (const { source, quantization } of weights)
    if (formOf(quantization) !== formOf(first.quantization))
      throw new JobFailure(
        'SourceInvalid',
        `${path}: ${source.name} has ${formOf(quantization)}; expected ${formOf(first.quantization)} as ${first.source.name} has`,
      )
  return {
    tensors: [...floatSources(stored.filter(({ name }) => !PART.test(name))), ...weights.map(({ source }) => source)],
    quantization: first.quantization,
  }
}

const formOf = ({ blockSize, doubleQuantization }: Quantization): string =>
  `blockSize ${blockSize} and doubleQuantization ${doubleQuantization}`

async function weightOf(
  path: string,
  name: string,
  state: FolderTensor,
  stored: ReadonlyMap<string, FolderTensor>,
): Promise<{ source: TensorSource; quantization: Quantization }> {
  if (!/^model\.layers\..*\.weight$/.test(name))
    throw new JobFailure(
      'SourceInvalid',
      `${path}: ${name} is saved in 4 bits; expected only linear layers of model.layers`,
    )
  const where = `${path}: ${state.name}`
  const json = await stateOf(where, state)
  const fields = fieldsOf(where, json)
  const blockSize = fields.number('blocksize')
  if (!Number.isInteger(blockSize) || blockSize < 2 || blockSize > MAX_BLOCK || blockSize % 2 !== 0)
    throw fields.wrong('blocksize', `an even number from 2 to ${MAX_BLOCK}`)
  const shape = shapeOf(fields, json)
  const count = shape[0] * shape[1]
  const blocks = Math.ceil(count / blockSize)
  const nested = json.nested_blocksize !== undefined
  if (nested && json.nested_blocksize !== NESTED_BLOCK) throw fields.wrong('nested_blocksize', `${NESTED_BLOCK}`)

  const part = (suffix: string, dtype: FolderTensor['dtype'], elements: number): FilePart => {
    const tensor = stored.get(name + suffix)
    const size = tensor?.shape.reduce((product, extent) => product * extent, 1)
    if (tensor?.dtype !== dtype || size !== elements)
      throw new JobFailure(
        'SourceInvalid',
        `${path}: ${name}${suffix} is ${tensor ? `${tensor.dtype} [${tensor.shape}]` : 'missing'}; expected ${dtype} with ${elements} values`,
      )
    return { file: tensor.file, offset: tensor.offset, bytes: tensor.bytes }
  }
  const nf4: Nf4Parts = {
    blockSize,
    map: part('.quant_map', 'F32', 16),
    absmax: part('.absmax', nested ? 'U8' : 'F32', blocks),
    ...(nested && {
      nested: {
        map: part('.nested_quant_map', 'F32', 256),
        absmax: part('.nested_absmax', 'F32', Math.ceil(blocks / NESTED_BLOCK)),
        offset: fields.number('nested_offset'),
      },
    }),
  }
  const codes = part('', 'U8', Math.ceil(count / 2))
  return {
    source: { name, dtype: 'NF4', shape, ...codes, nf4 },
    quantization: { type: 'NF4', blockSize, doubleQuantization: nested },
  }
}

async function stateOf(where: string, { file, offset, bytes }: FolderTensor): Promise<JsonObject> {
  if (bytes > MAX_STATE_BYTES)
    throw new JobFailure('SourceInvalid', `${where} has ${bytes} bytes; expected JSON of at most ${MAX_STATE_BYTES}`)
  const text = Buffer.alloc(bytes)
  const handle = await open(file)
  try {
    await readFully(handle, text, offset, file)
  } finally {
    await handle.close()
  }
  let value: unknown
  try {
    value = JSON.parse(text.toString('utf8'))
  } catch (error) {
    throw new JobFailure('SourceInvalid', `${where}: not JSON: ${(error as Error).message}`, { cause: error })
  }
  if (!isObject(value)) throw new JobFailure('SourceInvalid', `${where}: expected a JSON object`)
  return value
}

function shapeOf(fields: Fields, { shape }: JsonObject): readonly [number, number] {
  const isSize = (size: unknown): size is number => Number.isSafeInteger(size) && (size as number) > 0
  if (
    !Array.isArray(shape) ||
    shape.length !== 2 ||
    !shape.every(isSize) ||
    !Number.isSafeInteger(shape[0]! * shape[1]!)
  )
    throw fields.wrong('shape', 'two sizes, [out, in]')
  return [shape[0]!, shape[1]!]
}

/**
 * A base that was saved in 4 bits is used in the form it has: quantising it anew would lose more, and the layers in 16 bits do not exist.
 * ConfigurationInvalid, naming the field, unless the configuration says just that. `name` is how the message calls the base.
 */
export function requireForm(name: string, saved: Quantization | undefined, asked: Quantization): void {
  if (saved === undefined) return
  for (const field of ['type', 'blockSize', 'doubleQuantization'] as const)
    if (asked[field] !== saved[field])
      throw new JobFailure(
        'ConfigurationInvalid',
        `quantization.${field} is ${asked[field]}; expected ${saved[field]}: ${name} was saved in 4 bits, as NF4 with ${formOf(saved)}`,
      )
}
