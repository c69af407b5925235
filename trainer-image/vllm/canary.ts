import { status } from '@grpc/grpc-js'
import type { Vllm } from '#proto/humanizer/trainer/v1/serving.ts'
import { type Canary, type CanaryExample, objection, type VllmArithmetic } from '../evaluate/canary.ts'
import { CallRefused } from '../service/errors.ts'
import type { AdapterBase } from '../storage/adapter-identity.ts'
import type { VllmClient } from './client.ts'

/**
 * vLLM's own losses on the set must be those that were sealed with the adapter. FAILED_PRECONDITION in the words of any serving pod when
 * they are not, in vLLM's when it does not tell them.
 */
export async function proveCanary(
  client: VllmClient,
  name: string,
  { baseName, quantization }: Pick<Vllm, 'baseName' | 'quantization'>,
  canary: Canary,
  trainedBeside: AdapterBase['quantization'] | undefined,
): Promise<void> {
  const sameBase = quantization === quantizationLike(trainedBeside)
  const here: VllmArithmetic = { backend: 'vLLM', instructionPath: 'bf16', sameBase }
  const found = await objection(canary, here, (which) =>
    lossesOf(client, which === 'loss' ? name : baseName, canary.texts),
  )
  if (found) throw new CallRefused(status.FAILED_PRECONDITION, found)
}

/**
 * The --quantization with which vLLM's base has the values that the adapter was trained beside; undefined when none gives them. With
 * bitsandbytes it quantises the stored weights of every linear layer but the head while it loads them, by `quantize_4bit(loaded_weight,
 * compress_statistics=True, quant_type="nf4")` (vllm/model_executor/model_loader/bitsandbytes_loader.py): NF4 in bitsandbytes' blocks of 64,
 * doubly quantised, as a QLoRA run does unless told otherwise. LoRA beside it is vLLM's own example of QLoRA (lora_with_quantization_inference.py:
 * `quantization="bitsandbytes", enable_lora=True`).
 */
function quantizationLike(trainedBeside: AdapterBase['quantization'] | undefined): string | undefined {
  const { type, blockSize, doubleQuantization } = trainedBeside ?? {}
  if (type !== 'NF4') return ''
  return blockSize === 64 && doubleQuantization ? 'bitsandbytes' : undefined
}

/** Nats per token of each answer, as the engine's lossesOf measures them. */
async function lossesOf(client: VllmClient, model: string, texts: readonly CanaryExample[]): Promise<number[]> {
  const losses: number[] = []
  for (const text of texts) losses.push(answerLoss(await client.promptLogprobs(model, text.tokens), text, model))
  return losses
}

/** The first token of all has nothing to be predicted from. */
function answerLoss(
  logprobs: readonly (number | undefined)[],
  { id, promptTokens }: CanaryExample,
  model: string,
): number {
  const first = Math.max(promptTokens, 1)
  let sum = 0
  for (let at = first; at < logprobs.length; at++) {
    const logprob = logprobs[at]
    if (typeof logprob !== 'number')
      throw new CallRefused(
        status.FAILED_PRECONDITION,
        `vLLM told no prompt_logprobs of token ${at} of canary text ${id} under ${model}; expected one for each token`,
      )
    sum -= logprob
  }
  return sum / (logprobs.length - first)
}
