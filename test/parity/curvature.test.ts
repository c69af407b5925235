/** Fast-DetectGPT's curvature on the native engine: against PyTorch, and against what must be true of any model's own text. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { curvaturesOf } from '../../trainer-image/evaluate/curvature.ts'
import { openModel } from '../../trainer-image/model/open.ts'
import { engineInfo, type InstructionPath, loadModel, type Model } from '../../trainer-image/native/index.ts'
import { batchOf } from '../../trainer-image/train/batches.ts'

const opened = await openModel(fileURLToPath(new URL('../fixtures/tiny-llama', import.meta.url)))
const load = (instructionPath?: InstructionPath): Promise<Model> =>
  loadModel(opened.architecture, opened.tensors, {
    quantization: { type: 'None', blockSize: 64, doubleQuantization: false },
    threads: 2,
    ...(instructionPath && { instructionPath }),
  })
let model: Model
before(async () => {
  model = await load()
})
after(() => model.close())

interface Golden {
  readonly tokens: number[]
  readonly logProbability: number
  readonly mean: number
  readonly variance: number
  readonly discrepancy: number
}
const { texts } = JSON.parse(readFileSync(new URL('golden/curvature.json', import.meta.url), 'utf8')) as {
  texts: Golden[]
}

const exampleOf = (given: readonly number[]) => {
  const tokens = Int32Array.from(given)
  const labels = new Int32Array(tokens.length).fill(-100)
  labels.set(tokens.subarray(1))
  return { id: '', tokens, labels, promptTokens: 0, labelTokens: tokens.length - 1 }
}

// bf16 products are another instruction path, with rounding of its own (ADR 9).
for (const path of engineInfo().instructionPaths.filter((name) => name !== 'avx512_bf16'))
  test(`sums and criterion are PyTorch's on ${path}, all texts in one batch`, async () => {
    const own = await load(path)
    try {
      const examples = texts.map(({ tokens }) => exampleOf(tokens))
      const found = await own.likelihoods(undefined, batchOf(examples, [examples.map((_, i) => i)], 0))
      texts.forEach((want, i) => {
        const { logProbability, mean, variance, labelTokens } = found[i]!
        assert.equal(labelTokens, want.tokens.length - 1)
        for (const [value, wanted] of [
          [logProbability, want.logProbability],
          [mean, want.mean],
          [variance, want.variance],
        ] as const)
          assert.ok(Math.abs(value - wanted) <= 2e-5 * (1 + Math.abs(wanted)), `text ${i}: ${value}, PyTorch ${wanted}`)
        const discrepancy = (logProbability - mean) / Math.sqrt(variance)
        assert.ok(Math.abs(discrepancy - want.discrepancy) < 1e-4, `text ${i}: ${discrepancy}, ${want.discrepancy}`)
      })
    } finally {
      own.close()
    }
  })

test('log p(x) is the negative log-likelihood that evaluate measures, a text scores alike in any company, and unlabelled rows count for nothing', async () => {
  const examples = texts.map(({ tokens }) => exampleOf(tokens))
  const together = batchOf(
    examples,
    [
      [4, 0],
      [2, 3, 1],
    ],
    0,
  )
  const { nll } = await model.evaluate(undefined, together)
  const found = await model.likelihoods(undefined, together)
  for (const [i, { logProbability }] of found.entries()) assert.ok(Math.abs(logProbability + nll[i]!) < 1e-4)
  const [alone] = await model.likelihoods(undefined, batchOf(examples, [[4]], 0))
  assert.ok(Math.abs(alone!.variance - found[0]!.variance) < 1e-3)
  const half = { ...examples[4]!, labels: examples[4]!.labels.map((label, i) => (i < 100 ? -100 : label)) }
  const [rest] = await model.likelihoods(undefined, batchOf([half], [[0]], 0))
  assert.equal(rest!.labelTokens, examples[4]!.labelTokens - 100)
})

/** Writes on from a token; `choose` gets the logits. */
async function written(first: number, length: number, choose: (logits: Float32Array) => number): Promise<number[]> {
  const tokens = [first]
  const sequence = model.openSequence(undefined, length)
  try {
    while (tokens.length < length) {
      const [logits] = await model.forward([{ sequence, tokens: Int32Array.of(tokens.at(-1)!) }])
      tokens.push(choose(logits!))
    }
  } finally {
    sequence.close()
  }
  return tokens
}

test("what a model draws from its own distribution has curvature 0 with variance 1; its greedy text lies above, others' below", async () => {
  let state = 12345
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  const draw = (logits: Float32Array): number => {
    const maximum = logits.reduce((a, b) => Math.max(a, b))
    const weights = logits.map((logit) => Math.exp(logit - maximum))
    let left = random() * weights.reduce((sum, weight) => sum + weight, 0)
    const token = weights.findIndex((weight) => {
      left -= weight
      return left <= 0
    })
    return Math.max(0, token)
  }
  const greedy = (logits: Float32Array): number => logits.indexOf(logits.reduce((a, b) => Math.max(a, b)))
  const vocabulary = opened.architecture.vocabularySize
  const scoresOf = async (make: (i: number) => Promise<number[]>, count: number): Promise<number[]> => {
    const examples: ReturnType<typeof exampleOf>[] = []
    for (let i = 0; i < count; i++) examples.push(exampleOf(await make(i)))
    const found = await model.likelihoods(
      undefined,
      batchOf(
        examples,
        examples.map((_, i) => [i]),
        0,
      ),
    )
    return found.map(({ logProbability, mean, variance }) => (logProbability - mean) / Math.sqrt(variance))
  }
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
  const own = await scoresOf((i) => written(i % vocabulary, 40, draw), 80)
  // Of 80 scores with variance 1 the mean has standard deviation 0.11: four of these.
  assert.ok(Math.abs(mean(own)) < 0.45, `${mean(own)}`)
  const spread = mean(own.map((score) => (score - mean(own)) ** 2))
  assert.ok(spread > 0.5 && spread < 1.7, `${spread}`)
  const top = await scoresOf((i) => written(i % vocabulary, 40, greedy), 8)
  const foreign = await scoresOf(async () => Array.from({ length: 40 }, () => Math.floor(random() * vocabulary)), 20)
  assert.ok(Math.min(...top) > Math.max(...foreign) && mean(top) > 2, `${mean(top)} ${mean(foreign)}`)
})

test('texts are scored in their order; one without a second token has none; a longer one by what fits', async () => {
  const work = { signal: new AbortController().signal, beat: () => {} }
  const long = 'The old ferryman waited for the last train. '.repeat(20)
  const given = ['', 'The baker wrote a long letter.', long]
  const [none, short, cut] = await curvaturesOf(model, given, opened, 64, work)
  assert.equal(none, undefined)
  const alone = await curvaturesOf(model, [given[1]!], opened, 64, work)
  assert.ok(Math.abs(short! - alone[0]!) < 1e-3)
  assert.ok(Number.isFinite(cut))
})
