import { copyFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { OpenedModel } from '../model/open.ts'
import { type AdapterConfig, writeAdapter } from '../model/peft.ts'
import {
  encodeSafetensors,
  readBytes,
  readFloats,
  readSafetensorsHeader,
  type TensorBytes,
} from '../model/safetensors.ts'
import type { Adapter, AdapterTensor, MomentTensor, OptimizerState } from '../native/index.ts'
import { chatTemplateName } from '../storage/adapter-identity.ts'
import { writeFileAtomic } from '../storage/atomic.ts'

const optimizerName = 'optimizer.safetensors'
export const trainerStateName = 'trainer_state.json'
const tokenizerFiles: readonly string[] = ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json']

/** Prefixes of the moments' tensors; the names of AdamW's state in PyTorch. */
const moments = { firstMoment: 'exp_avg', secondMoment: 'exp_avg_sq' } as const

/** Ends the name of the scales of a moment in 8 bits. */
const ABSMAX = '.absmax'

/** Writes everything that a checkpoint holds: the adapter with its tokenizer, and the state to train on. */
export async function writeCheckpointFiles(
  directory: string,
  adapter: Adapter,
  config: AdapterConfig,
  opened: OpenedModel,
  trainerState: string,
): Promise<void> {
  await writeAdapter(directory, { config, tensors: adapter.tensors() })
  const copied = opened.files.filter(({ name }) => tokenizerFiles.includes(name))
  for (const { name, path } of copied) await copyFile(path, join(directory, basename(name)))
  // The template is part of what an adapter is, also where the base keeps it inside another file or has none.
  await writeFileAtomic(join(directory, chatTemplateName), opened.chatTemplate.source)
  await writeOptimizer(directory, adapter.optimizerState())
  await writeFileAtomic(join(directory, trainerStateName), trainerState)
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Uint8Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

/** exp_avg.NAME in F32, or in U8 with its scales in exp_avg.NAME.absmax; exp_avg_sq likewise. */
function optimizerBytes(state: OptimizerState): Uint8Array[] {
  const stored = (Object.keys(moments) as (keyof typeof moments)[]).flatMap((moment) =>
    state[moment].flatMap(({ name: of, shape, data, absmax }): TensorBytes[] => {
      const name = `${moments[moment]}.${of}`
      if (absmax === undefined) return [{ name, dtype: 'F32', shape, data: bytesOf(data) }]
      const scales = { name: name + ABSMAX, dtype: 'F32', shape: [absmax.length], data: bytesOf(absmax) } as const
      return [{ name, dtype: 'U8', shape, data: bytesOf(data) }, scales]
    }),
  )
  return encodeSafetensors(stored)
}

/** Writes the optimizer's moments, each in the form that its optimizer keeps. */
export const writeOptimizer = (directory: string, state: OptimizerState): Promise<void> =>
  writeFileAtomic(join(directory, optimizerName), optimizerBytes(state))

/** The optimizer's moments of a sealed checkpoint, for the tensors of its adapter, as its optimizer kept them. */
export async function readOptimizer(directory: string, tensors: readonly AdapterTensor[]): Promise<OptimizerState> {
  const file = await readSafetensorsHeader(join(directory, optimizerName))
  const read = async (prefix: string): Promise<MomentTensor[]> => {
    const state: MomentTensor[] = []
    for (const { name: of, shape } of tensors) {
      const name = `${prefix}.${of}`
      if (file.tensors.get(name)?.dtype === 'U8')
        state.push({
          name: of,
          shape,
          data: await readBytes(file, name),
          absmax: await readFloats(file, name + ABSMAX),
        })
      else state.push({ name: of, shape, data: await readFloats(file, name) })
    }
    return state
  }
  return { firstMoment: await read(moments.firstMoment), secondMoment: await read(moments.secondMoment) }
}
