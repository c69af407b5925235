/** The base as ours and the peers load it: Hugging Face's format, or a GGUF file. Without a tokenizer, since the peers load none here. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { instructionPathOf } from '../../../trainer-image/model/compute-dtype.ts'
import { architectureOf } from '../../../trainer-image/model/config.ts'
import { readGguf } from '../../../trainer-image/model/gguf.ts'
import { ggufArchitecture, ggufTensors } from '../../../trainer-image/model/gguf-llama.ts'
import { floatSources, readTensorIndex } from '../../../trainer-image/model/safetensors-folder.ts'
import {
  type ActivationCheckpointing,
  type Architecture,
  loadModel,
  type Model,
  type TensorSource,
} from '../../../trainer-image/native/index.ts'

export type Base = 'NF4' | 'None'

export async function openFolder(
  path: string,
  type: Base,
  threads: number,
  activationCheckpointing: ActivationCheckpointing = 'Selective',
  instructionPath = instructionPathOf('Auto'),
  timed = false,
): Promise<Model> {
  const { architecture, tensors } = await (path.endsWith('.gguf') ? gguf : huggingFace)(path)
  return loadModel(architecture, tensors, {
    quantization: { type, blockSize: 64, doubleQuantization: true },
    threads,
    activationCheckpointing,
    instructionPath,
    timed,
  })
}

interface Opened {
  readonly architecture: Architecture
  readonly tensors: readonly TensorSource[]
}

async function gguf(path: string): Promise<Opened> {
  const file = await readGguf(path)
  const architecture = await ggufArchitecture(file)
  return { architecture, tensors: ggufTensors(file, architecture) }
}

async function huggingFace(folder: string): Promise<Opened> {
  const path = join(folder, 'config.json')
  const { tensors } = await readTensorIndex(folder)
  const architecture = architectureOf(path, JSON.parse(readFileSync(path, 'utf8')))
  return { architecture, tensors: floatSources(tensors) }
}
