import { status } from '@grpc/grpc-js'
import { type Canary, type CanaryExample, objection, type VllmArithmetic } from '../evaluate/canary.ts'
import { CallRefused } from '../service/errors.ts'
import type { VllmClient } from './client.ts'

/**
 * vLLM's own losses on the set must be those that were sealed with the adapter. FAILED_PRECONDITION in the words of any serving pod when
 * they are not, in vLLM's when it does not tell them.
 */
export async function proveCanary(
  client: VllmClient,
  { name, baseName }: { readonly name: string; readonly baseName: string },
  canary: Canary,
  quantization: string | undefined,
): Promise<void> {
  const here: VllmArithmetic = {
    backend: 'vLLM',
    instructionPath: 'bf16',
    trainedOn: quantization === 'NF4' ? 'NF4' : 'None',
  }
  const found = await objection(canary, here, (which) =>
    lossesOf(client, which === 'loss' ? name : baseName, canary.texts),
  )
  if (found) throw new CallRefused(status.FAILED_PRECONDITION, found)
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
