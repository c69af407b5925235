import { copyFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { OpenedModel } from '../model/open.ts'
import { type AdapterConfig, writeAdapter } from '../model/peft.ts'
import { encodeSafetensors, readFloats, readSafetensorsHeader } from '../model/safetensors.ts'
import type { Adapter, AdapterTensor, OptimizerState } from '../native/index.ts'
import { chatTemplateName } from '../storage/adapter-identity.ts'
import { writeFileAtomic } from '../storage/atomic.ts'

const optimizerName = 'optimizer.safetensors'
export const trainerStateName = 'trainer_state.json'
const tokenizerFiles: readonly string[] = ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json']

/** Prefixes of the moments' tensors; the names of AdamW's state in PyTorch. */
const moments = { firstMoment: 'exp_avg', secondMoment: 'exp_avg_sq' } as const

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
  await writeFileAtomic(join(directory, optimizerName), optimizerBytes(adapter.optimizerState()))
  await writeFileAtomic(join(directory, trainerStateName), trainerState)
}

function optimizerBytes(state: OptimizerState): Uint8Array[] {
  const stored = (Object.keys(moments) as (keyof typeof moments)[]).flatMap((moment) =>
    state[moment].map(({ name, shape, data }) => ({
      name: `${moments[moment]}.${name}`,
      dtype: 'F32' as const,
      shape,
      data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    })),
  )
  return encodeSafetensors(stored)
}

/** The optimizer's moments of a sealed checkpoint, for the tensors of its adapter. */
export async function readOptimizer(directory: string, tensors: readonly AdapterTensor[]): Promise<OptimizerState> {
  const file = await readSafetensorsHeader(join(directory, optimizerName))
  const read = async (prefix: string): Promise<AdapterTensor[]> => {
    const state: AdapterTensor[] = []
    for (const { name, shape } of tensors)
      state.push({ name, shape, data: await readFloats(file, `${prefix}.${name}`) })
    return state
  }
  return { firstMoment: await read(moments.firstMoment), secondMoment: await read(moments.secondMoment) }
}
