import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { type Adapter, loadModel, type Model } from '../../trainer-image/native/index.ts'
import {
  argmax,
  lora,
  oddArchitecture,
  pack,
  random,
  randomDocument,
  randomWeights,
  relativeError,
} from './random-model.ts'

const vocabulary = oddArchitecture.vocabularySize
const REORDERED = 1e-5

suite('generation', () => {
  const { tensors, dispose } = randomWeights(oddArchitecture)
  let model: Model
  let adapter: Adapter
  before(async () => {
    model = await loadModel(oddArchitecture, tensors, {
      quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true },
      threads: 2,
    })
    const next = random(5)
    const fresh = await model.createAdapter(lora)
    adapter = await model.loadAdapter(
      lora,
      fresh.tensors().map((tensor) => ({ ...tensor, data: tensor.data.map(() => 0.3 * (next() - 0.5)) })),
    )
  })
  after(() => {
    model.close()
    dispose()
  })

  const tokens = (length: number, seed: number) => Int32Array.from(randomDocument(length, vocabulary, seed))

  async function logitsAtOnce(of: Adapter | undefined, all: Int32Array): Promise<Float32Array> {
    const sequence = model.openSequence(of, all.length)
    const [logits] = await model.forward([{ sequence, tokens: all }])
    sequence.close()
    return logits!
  }

  test('a prompt and then one token at a time gives the logits of all tokens at once', async () => {
    const all = tokens(200, 1)
    const sequence = model.openSequence(adapter, 200)
    let [logits] = await model.forward([{ sequence, tokens: all.subarray(0, 130) }])
    for (let i = 130; i < 200; i++) [logits] = await model.forward([{ sequence, tokens: all.subarray(i, i + 1) }])
    assert.equal(sequence.length, 200)
    const error = relativeError(logits!, await logitsAtOnce(adapter, all))
    assert.ok(error < REORDERED, String(error))
  })

  test('sequences of different adapters and lengths in one call are each as they are alone', async () => {
    const items = [adapter, undefined, adapter, adapter].map((of, i) => ({ of, all: tokens(20 + 31 * i, 10 + i) }))
    const open = items.map(({ of }) => model.openSequence(of, 200))
    await model.forward(items.map(({ all }, i) => ({ sequence: open[i]!, tokens: all.subarray(0, 7 * (i + 1)) })))
    const logits = await model.forward(
      items.map(({ all }, i) => ({ sequence: open[i]!, tokens: all.subarray(7 * (i + 1)) })),
    )
    for (const [i, { of, all }] of items.entries()) {
      const error = relativeError(logits[i]!, await logitsAtOnce(of, all))
      assert.ok(error < REORDERED, `item ${i}: ${error}`)
    }
    assert.ok(relativeError(logits[1]!, await logitsAtOnce(adapter, items[1]!.all)) > 0.01)
  })

  test('tokens sampled in one call are those of each sequence alone, and a part of a prompt has none', async () => {
    const asked = {
      temperature: 0,
      topP: 1,
      random: 0,
      alternatives: 2,
      tokens: new Int32Array(),
      penalties: new Float32Array(),
    }
    const items = [adapter, undefined, undefined].map((of, i) => ({ of, all: tokens(20 + 9 * i, 30 + i) }))
    const open = items.map(({ of }) => model.openSequence(of, 60))
    const sampled = await model.sample(
      items.map(({ all }, i) => ({ sequence: open[i]!, tokens: all, choice: i === 1 ? undefined : asked })),
    )
    assert.equal(sampled[1], undefined)
    assert.deepEqual(
      open.map(({ length }) => length),
      [20, 29, 38],
    )
    for (const i of [0, 2]) {
      const logits = await logitsAtOnce(items[i]!.of, items[i]!.all)
      const logTotal = Math.log(logits.reduce((sum, value) => sum + Math.exp(value), 0))
      const { id, logprob, top } = sampled[i]!
      assert.equal(id, argmax(logits))
      assert.equal(top.length, 2)
      assert.deepEqual(top[0], { id, logprob })
      assert.ok(Math.abs(logprob! - (logits[id]! - logTotal)) < 1e-4)
      const [penalised] = await model.sample([
        {
          sequence: model.openSequence(items[i]!.of, 60),
          tokens: items[i]!.all,
          choice: { ...asked, tokens: Int32Array.of(id), penalties: Float32Array.of(100) },
        },
      ])
      assert.equal(penalised!.id, top[1]!.id)
    }
  })

  test('a choice that the engine could not make is refused by its field', async () => {
    const choice = {
      temperature: 1,
      topP: 1,
      random: 0,
      alternatives: -1,
      tokens: new Int32Array(),
      penalties: new Float32Array(),
    }
    const sequence = model.openSequence(undefined, 10)
    for (const [changed, message] of [
      [{ random: 1 }, /choice.random is 1/],
      [{ topP: 1.5 }, /choice.topP is 1.5/],
      [{ alternatives: 21 }, /choice.alternatives is 21/],
      [{ tokens: Int32Array.of(vocabulary), penalties: Float32Array.of(1) }, /choice.tokens is 131/],
      [{ tokens: Int32Array.of(1, 1), penalties: Float32Array.of(1, 1) }, /one twice/],
      [{ tokens: Int32Array.of(1) }, /choice.penalties.length is 0/],
    ] as const)
      await assert.rejects(model.sample([{ sequence, tokens: tokens(2, 1), choice: { ...choice, ...changed } }]), {
        code: 'INVALID_ARGUMENT',
        message,
      })
    assert.equal(sequence.length, 0)
  })

  test('the logits are those that the loss is made of', async () => {
    const document = randomDocument(40, vocabulary, 2)
    const { nll } = await model.evaluate(
      adapter,
      pack([[document]], (position) => position === 38),
    )
    const logits = await logitsAtOnce(adapter, Int32Array.from(document.slice(0, 39)))
    const total = logits.reduce((sum, value) => sum + Math.exp(value), 0)
    assert.ok(Math.abs(Math.log(total) - logits[document[39]!]! - nll[0]!) < 1e-4)
  })

  test('a sequence goes on with its adapter after that was closed', async () => {
    const all = tokens(30, 3)
    const own = await model.loadAdapter(lora, adapter.tensors())
    const sequence = model.openSequence(own, 30)
    await model.forward([{ sequence, tokens: all.subarray(0, 10) }])
    own.close()
    const [logits] = await model.forward([{ sequence, tokens: all.subarray(10) }])
    const error = relativeError(logits!, await logitsAtOnce(adapter, all))
    assert.ok(error < REORDERED, String(error))
  })

  test('tokens beyond maxTokens are refused and the sequence stays as it was', async () => {
    const sequence = model.openSequence(undefined, 10)
    await model.forward([{ sequence, tokens: tokens(8, 1) }])
    await assert.rejects(model.forward([{ sequence, tokens: tokens(3, 2) }]), {
      name: 'NativeError',
      code: 'INVALID_ARGUMENT',
      message: /11 tokens exceed the sequence's maxTokens 10/,
    })
    assert.equal(sequence.length, 8)
    await model.forward([{ sequence, tokens: tokens(2, 2) }])
  })

  test('closed caches give their memory back', async () => {
    const own = await loadModel(oddArchitecture, tensors, {
      quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true },
      threads: 2,
    })
    const run = async () => {
      const sequence = own.openSequence(undefined, 500)
      await own.forward([{ sequence, tokens: tokens(400, 1) }])
      return sequence
    }
    ;(await run()).close() // the scratch of such a pass is kept for the next
    const before = own.memory().residentBytes
    const sequence = await run()
    const { layers, keyValueHeads, headSize } = oddArchitecture
    assert.equal(own.memory().residentBytes, before + 400 * layers * 2 * keyValueHeads * headSize * 4)
    sequence.close()
    assert.equal(own.memory().residentBytes, before)
    own.close()
  })
})
