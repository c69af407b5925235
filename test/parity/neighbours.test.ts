import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Adapter, engineInfo, loadModel, type Model, type Sequence } from '../../trainer-image/native/index.ts'
import { argmax, lora, oddArchitecture, random, randomDocument, randomWeights } from './random-model.ts'

const architecture = {
  ...oddArchitecture,
  hiddenSize: 128,
  heads: 4,
  keyValueHeads: 2,
  headSize: 32,
  intermediateSize: 192,
}
const ANSWER = 5

interface Request {
  readonly adapter: Adapter | undefined
  readonly prompt: Int32Array
  /** The step at which it comes. */
  readonly arrival: number
  /** Its cache is taken away once it has this many tokens of its answer, and all is read again. */
  readonly preemptedAfter?: number
}

interface Running {
  readonly request: Request
  sequence: Sequence
  pending: Int32Array
  readonly generated: number[]
  readonly logits: Float32Array[]
}

/** Greedy answers to all of them in one batch, a prompt's tokens in parts of the sizes that `cut` gives: the logits of each token. */
async function answer(
  model: Model,
  requests: readonly Request[],
  cut: (tokens: number) => number,
): Promise<Float32Array[][]> {
  const all = requests.map((request): Running => {
    const sequence = model.openSequence(request.adapter, request.prompt.length + ANSWER, request.prompt.length)
    return { request, sequence, pending: request.prompt, generated: [], logits: [] }
  })
  const preempt = (of: Running): void => {
    const { adapter, prompt } = of.request
    of.sequence.close()
    of.sequence = model.openSequence(adapter, prompt.length + ANSWER, prompt.length)
    of.pending = Int32Array.of(...prompt, ...of.generated)
  }
  const unfinished = () => all.filter(({ logits }) => logits.length < ANSWER)
  for (let step = 0; unfinished().length > 0; step++) {
    const turn = unfinished()
      .filter(({ request }) => request.arrival <= step)
      .map((of) => ({ of, count: of.pending.length === 1 ? 1 : cut(of.pending.length) }))
    const logits = await model.forward(
      turn.map(({ of, count }) => ({ sequence: of.sequence, tokens: of.pending.subarray(0, count) })),
    )
    for (const [i, { of, count }] of turn.entries()) {
      of.pending = of.pending.subarray(count)
      if (of.pending.length > 0) continue
      of.logits.push(logits[i]!)
      of.generated.push(argmax(logits[i]!))
      of.pending = Int32Array.of(of.generated.at(-1)!)
      if (of.generated.length === of.request.preemptedAfter) preempt(of)
    }
  }
  for (const { sequence } of all) sequence.close()
  return all.map(({ logits }) => logits)
}

// With bf16 factors the least change of an activation may round another way and become another word.
if (engineInfo().instructionPaths.includes('avx512_bf16'))
  test('avx512_bf16: an answer has the same bits alone and beside others, on one thread and two, however its prompt is cut', async () => {
    const { tensors, dispose } = randomWeights(architecture)
    const quantization = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const
    const opened = async (threads: number): Promise<{ model: Model; requests: Request[] }> => {
      const model = await loadModel(architecture, tensors, { quantization, threads, instructionPath: 'avx512_bf16' })
      const fresh = await model.createAdapter(lora)
      const next = random(5)
      const trained = await model.loadAdapter(
        lora,
        fresh.tensors().map((tensor) => ({ ...tensor, data: tensor.data.map(() => 0.3 * (next() - 0.5)) })),
      )
      const requests = [30, 5, 3, 40, 9, 1, 70, 32, 6, 31, 100, 33].map((length, i): Request => {
        const prompt = Int32Array.from(randomDocument(length, architecture.vocabularySize, i))
        return { adapter: i % 3 === 0 ? undefined : trained, prompt, arrival: 0 }
      })
      return { model, requests }
    }
    const alone: Float32Array[][] = []
    const single = await opened(1)
    for (const request of single.requests) alone.push((await answer(single.model, [request], (tokens) => tokens))[0]!)
    single.model.close()

    const { model, requests } = await opened(2)

    const same = (found: readonly Float32Array[][], how: string): void => {
      for (const [i, logits] of found.entries()) {
        for (const [n, values] of logits.entries()) {
          const { length } = requests[i]!.prompt
          assert.deepEqual(values, alone[i]![n], `${how}: token ${n} of the answer to the prompt of ${length} tokens`)
        }
      }
    }
    same(await answer(model, requests, (tokens) => tokens), 'all at once')
    for (let seed = 1; seed <= 4; seed++) {
      const draw = random(seed)
      const beside = requests.map((request) => ({
        ...request,
        arrival: Math.floor(8 * draw()),
        ...(draw() < 0.4 && { preemptedAfter: 1 + Math.floor(3 * draw()) }),
      }))
      const cut = (tokens: number): number => Math.min(tokens, 1 + Math.floor(draw() < 0.5 ? 8 * draw() : 60 * draw()))
      same(await answer(model, beside, cut), `schedule ${seed}`)
    }
    model.close()
    dispose()
  })
