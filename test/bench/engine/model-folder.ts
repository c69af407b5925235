/** The folder that ours and the peers load: Hugging Face's format, bf16, made once by peer/model.py. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { architectureOf } from '../../../trainer-image/model/config.ts'
import { readTensorIndex } from '../../../trainer-image/model/safetensors-folder.ts'
import { loadModel, type Model } from '../../../trainer-image/native/index.ts'

export async function openFolder(folder: string, type: 'NF4' | 'None', threads: number): Promise<Model> {
  const path = join(folder, 'config.json')
  const { tensors } = await readTensorIndex(folder)
  return loadModel(architectureOf(path, JSON.parse(readFileSync(path, 'utf8'))), tensors, {
    quantization: { type, blockSize: 64, doubleQuantization: true },
    threads,
  })
}
