import { status } from '@grpc/grpc-js'
import type { GenerateRequest, GenerateResponse } from '#proto/humanizer/trainer/v1/trainer_service.ts'
import { encodeWithin } from '../serve/base.ts'
import { Generation } from '../serve/generation.ts'
import { CallRefused } from '../service/errors.ts'
import { measure } from './baseline.ts'
import type { Desk } from './between-steps.ts'
import type { Session } from './session.ts'
import { PROMPT_TOKENS } from './text-memory.ts'

const MAX_TOKENS = 1024
const USUAL_TOKENS = 256

/** Answers from the session's model and adapter; `beat` shows that the pod goes on. */
export function deskOf(session: Session, beat: () => void): Desk {
  const { plan, model, adapter, baseline } = session
  return {
    async evaluate(step, signal) {
      if (plan.evaluation === undefined)
        throw new CallRefused(status.FAILED_PRECONDITION, 'the dataset has no validation text to evaluate on')
      return (await measure(model, adapter, plan.evaluation, step, baseline, { signal, beat })).result
    },
    async generate(request, step, signal) {
      const generation = begin(session, request)
      const { prompt, maxTokens } = generation.options
      const sequence = model.openSequence(adapter, prompt.length + maxTokens, prompt.length)
      try {
        let text = ''
        let pending = prompt
        while (generation.finish === undefined) {
          signal.throwIfAborted()
          const tokens = pending.subarray(0, PROMPT_TOKENS)
          const choice = tokens.length === pending.length ? generation.choice() : undefined
          const [token] = await model.sample([{ sequence, tokens, choice }])
          beat()
          pending = pending.subarray(tokens.length)
          if (!token) continue
          const piece = generation.accept(token)
          text += piece.text
          pending = Int32Array.of(piece.token.id)
        }
        return responseOf(generation, text, step)
      } finally {
        sequence.close()
      }
    },
  }
}

function begin({ config, opened, templateDate }: Session, { prompt, maxTokens, temperature, seed }: GenerateRequest) {
  const { tokenizer, chatTemplate, generation } = opened
  const refuse = (field: string, value: unknown, expected: string): CallRefused =>
    new CallRefused(status.INVALID_ARGUMENT, `${field} is ${value}; expected ${expected}`)
  if (maxTokens < 0 || maxTokens > MAX_TOKENS) throw refuse('max_tokens', maxTokens, `1 to ${MAX_TOKENS}, or 0`)
  if (!(temperature >= 0 && temperature <= 2)) throw refuse('temperature', temperature, '0 to 2')
  if (!Number.isSafeInteger(seed)) throw refuse('seed', seed, 'at most 53 bits')
  const longest = config.training.maxSequenceLength
  const messages = [{ role: 'user', content: prompt }] as const
  const options = { addGenerationPrompt: true, dateString: templateDate }
  const tokens = encodeWithin(tokenizer, chatTemplate.render(messages, options), longest)
  const room = longest - tokens.length
  if (room < Math.max(maxTokens, 1))
    throw refuse('prompt', `${tokens.length} tokens`, `at most ${longest - Math.max(maxTokens, 1)} beside the answer`)
  return new Generation({
    prompt: tokens,
    maxTokens: maxTokens || Math.min(USUAL_TOKENS, room),
    sampling: { temperature, topP: 1, presencePenalty: 0, frequencyPenalty: 0, topLogprobs: undefined },
    seed,
    choice: 0,
    stops: [],
    endIds: new Set(generation.endOfTurnIds),
    text: tokenizer.decodeStream(),
  })
}

function responseOf({ finish, completionTokens, options }: Generation, text: string, step: number): GenerateResponse {
  return { step, text, finishReason: finish ?? '', promptTokens: options.prompt.length, completionTokens }
}
