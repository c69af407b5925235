/**
 * The traps of fine-tuning that other projects fell into. Each is a test whose name begins with "trap N:", beside what it tests; here stand
 * the list, the check that none is missing, and those traps that the engine as a whole could fall into.
 */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Adapter, loadModel, type Model } from '../../trainer-image/native/index.ts'
import { firstStep, lora, oddArchitecture, pack, random, randomDocument, randomWeights } from './random-model.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** From number 1 on. */
const traps = [
  'the loss is averaged by micro-batch instead of by token',
  'packed documents weigh differently or see each other',
  'the end of a turn is masked as padding: answers never end',
  'of several end-of-turn ids only one stops an answer',
  'two tokens begin a sequence',
  'serving renders another prompt than training, or the date moves',
  'a BPE that cuts words otherwise or ignores ignore_merges',
  'a mask of answers that masks everything',
  'a fused loss that ignores the mask',
  'nothing is labelled: NaN, or a silent 0',
  'a resumed run is not the run',
  'the optimizer does not come back as it was',
  'a half-written checkpoint is picked up',
  'the best checkpoint is not saved, or removed',
  'merging loses precision',
  'activation checkpointing on a frozen base: no gradients',
  'numbers that are not finite go on',
  'NF4 that is not that of bitsandbytes',
  'evaluation keeps all logits and runs out of memory',
  'target modules that match nothing are passed over',
  'adapters that vLLM refuses',
  'quality judged by NF4 on a tiny model',
  'the order of evaluation depends on lengths',
  'the best is chosen where nothing is saved',
  'claims of speed without their conditions',
  'dropout takes another path than no dropout',
] as const

/** Traps that no test here can fall into, and why. */
const elsewhere: Readonly<Record<number, string>> = {
  22: 'NF4 costs much quality below 1B parameters: a rule for whoever judges a run; baseline.json tells that cost as unquantizedLoss',
  25: 'claims of speed: test/bench/report.ts writes what was measured on what',
}

/** "trap 3:" or "traps 11 and 12:" at the beginning of a test's name. */
const NAMED = /(?:test|suite)\(\s*['"`]traps? ([\d, and]+):/g

test('every trap is a named test, or says why it is not', () => {
  const named = new Set(
    globSync('{operator,trainer-image,test}/**/*.test.ts', { cwd: root }).flatMap((path) =>
      [...readFileSync(`${root}${path}`, 'utf8').matchAll(NAMED)].flatMap(([, numbers]) =>
        numbers!.match(/\d+/g)!.map(Number),
      ),
    ),
  )
  const all = traps.map((_, i) => i + 1)
  const missing = all.filter((number) => !named.has(number) && !(number in elsewhere))
  assert.deepEqual(missing, [], 'neither tested nor excused')
  const twice = all.filter((number) => named.has(number) && number in elsewhere)
  assert.deepEqual(twice, [], 'tested by now: remove the excuse')
  assert.deepEqual(
    [...named].filter((number) => !all.includes(number)),
    [],
    'no trap has this number',
  )
})

const vocabulary = oddArchitecture.vocabularySize
const quantization = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const

suite('the engine', () => {
  const { tensors, dispose } = randomWeights(oddArchitecture)
  let model: Model
  let adapter: Adapter
  before(async () => {
    model = await loadModel(oddArchitecture, tensors, { quantization, threads: 2 })
    adapter = await model.createAdapter(lora)
  })
  after(() => {
    model.close()
    dispose()
  })

  /** -log softmax, in float64, of each token after the ones before it: from the logits of generation. */
  async function naiveLosses(document: readonly number[]): Promise<number[]> {
    const sequence = model.openSequence(undefined, document.length)
    const losses: number[] = []
    for (const [i, token] of document.slice(0, -1).entries()) {
      const [logits] = await model.forward([{ sequence, tokens: Int32Array.of(token) }])
      const largest = logits!.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY)
      const total = logits!.reduce((sum, value) => sum + Math.exp(value - largest), 0)
      losses.push(Math.log(total) + largest - logits![document[i + 1]!]!)
    }
    sequence.close()
    return losses
  }

  test('trap 9: the fused loss is the naive cross-entropy of the labelled tokens, under random masks', async () => {
    const documents = [randomDocument(41, vocabulary, 1), randomDocument(23, vocabulary, 2)]
    const naive = [await naiveLosses(documents[0]!), await naiveLosses(documents[1]!)]
    const next = random(5)
    for (let round = 0; round < 5; round++) {
      const batch = pack([documents])
      const expected = [0, 0]
      documents.forEach((document, d) => {
        for (let i = 0; i + 1 < document.length; i++)
          if (next() < 0.5) batch.labels[batch.documents[d]! + i] = -100
          else expected[d]! += naive[d]![i]!
      })
      const { nll } = await model.evaluate(undefined, batch)
      for (const [d, value] of nll.entries())
        assert.ok(Math.abs(value / expected[d]! - 1) < 1e-5, `document ${d}: ${value} and ${expected[d]}`)
    }
  })

  test('trap 19: an evaluation of ten times the text of a step takes no more memory than the step', async () => {
    const sequence = [randomDocument(400, vocabulary, 1), randomDocument(600, vocabulary, 2)]
    await model.accumulate(adapter, pack([sequence, sequence]), 1)
    model.discardGradients(adapter)
    const { peakBytes } = model.memory()
    await model.evaluate(adapter, pack(Array.from({ length: 20 }, () => sequence)))
    assert.equal(model.memory().peakBytes, peakBytes)
  })

  test('trap 17: a layer whose numbers overflow is named with the loss, and its step is skipped', async () => {
    const batch = pack([[randomDocument(30, vocabulary, 1)]])
    const name = 'base_model.model.model.layers.1.mlp.down_proj.lora_B.weight'
    const huge = adapter
      .tensors()
      .map((tensor) => (tensor.name === name ? { ...tensor, data: tensor.data.fill(3e38) } : tensor))
    const broken = await model.loadAdapter(lora, huge)
    const { nll, nonFinite } = await model.accumulate(broken, batch, 1)
    assert.ok(!Number.isFinite(nll))
    assert.equal(nonFinite, 'layer 1')
    const outcome = await model.optimizerStep(broken, firstStep)
    assert.equal(outcome.finite, false)
    assert.match(outcome.nonFinite ?? '', /^base_model\.model\.model\.layers\.\d\..*\.lora_[AB]\.weight$/)
    assert.deepEqual(broken.tensors(), huge)
    broken.close()
  })

  test('trap 17: a gradient that overflows though the loss is finite is named by its parameter', async () => {
    const batch = pack([[randomDocument(3000, vocabulary, 1)]])
    const name = 'base_model.model.model.layers.1.mlp.up_proj.lora_A.weight'
    // B is zero: an A of any size changes no output. Its h is near the end of float32, and dB, a sum over all tokens, beyond it.
    const large = adapter
      .tensors()
      .map((tensor) => (tensor.name === name ? { ...tensor, data: tensor.data.fill(8e36) } : tensor))
    const broken = await model.loadAdapter(lora, large)
    const { nll, nonFinite } = await model.accumulate(broken, batch, 1)
    assert.deepEqual([Number.isFinite(nll), nonFinite], [true, undefined])
    const { finite, nonFinite: parameter } = await model.optimizerStep(broken, firstStep)
    assert.deepEqual([finite, parameter], [false, name.replace('lora_A', 'lora_B')])
    broken.close()
  })
})
