/** All tensors of a Hugging Face folder: one model.safetensors, or shards named by model.safetensors.index.json. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { JobFailure } from '../job/failure.ts'
import type { TensorSource } from '../native/index.ts'
import { isObject, type JsonObject, readJsonObject } from './json.ts'
import { readSafetensorsHeader, type SafetensorsFile, type StoredTensor } from './safetensors.ts'

const SINGLE = 'model.safetensors'
const INDEX = 'model.safetensors.index.json'

/** A tensor and the file that it lies in. */
export type FolderTensor = StoredTensor & { readonly file: string }

/** Reads and validates every header; `files` are the names read, index included. */
export async function readTensorIndex(folder: string): Promise<{ tensors: FolderTensor[]; files: string[] }> {
  const index = await readJsonObject(join(folder, INDEX))
  if (index) return readShards(folder, index)
  const path = join(folder, SINGLE)
  const present = await stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false
      throw error
    },
  )
  if (!present) throw new JobFailure('SourceInvalid', `${folder}: has neither ${SINGLE} nor ${INDEX}`)
  return { tensors: tensorsOf(await readSafetensorsHeader(path)), files: [SINGLE] }
}

async function readShards(folder: string, index: JsonObject): Promise<{ tensors: FolderTensor[]; files: string[] }> {
  const bad = (message: string) => new JobFailure('SourceInvalid', `${join(folder, INDEX)}: ${message}`)
  const map = index.weight_map
  if (!isObject(map)) throw bad('has no object "weight_map"')
  const shards = new Set<string>()
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || !/^[\w.-]+\.safetensors$/.test(shard))
      throw bad(
        `tensor ${name} is in ${JSON.stringify(shard)}; expected the name of a .safetensors file in the same folder`,
      )
    shards.add(shard)
  }
  const headers = new Map<string, SafetensorsFile>()
  for (const shard of [...shards].sort())
    headers.set(
      shard,
      await readSafetensorsHeader(join(folder, shard)).catch((error: NodeJS.ErrnoException) => {
        throw error.code === 'ENOENT' ? bad(`names ${shard}, which is missing`) : error
      }),
    )
  for (const [name, shard] of Object.entries(map))
    if (!headers.get(shard as string)?.tensors.has(name)) throw bad(`tensor ${name} is missing in ${shard}`)
  const tensors = [...headers].flatMap(([shard, file]) => tensorsOf(file).filter(({ name }) => map[name] === shard))
  return { tensors, files: [INDEX, ...headers.keys()] }
}

const tensorsOf = ({ path, tensors }: SafetensorsFile): FolderTensor[] =>
  [...tensors.values()].map((tensor) => ({ ...tensor, file: path }))

/** Tensors of other types than the engine reads are left out; one that the model needs is then missed by name. */
export const floatSources = (tensors: readonly FolderTensor[]): TensorSource[] =>
  tensors.flatMap(({ dtype, ...where }) =>
    dtype === 'F32' || dtype === 'F16' || dtype === 'BF16' ? [{ ...where, dtype }] : [],
  )
