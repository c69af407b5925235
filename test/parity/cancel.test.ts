import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Adapter, loadModel, type Model, type NativeError } from '../../trainer-image/native/index.ts'
import { lora, oddArchitecture, pack, randomDocument, randomWeights } from './random-model.ts'

const vocabulary = oddArchitecture.vocabularySize
/** One operation of many seconds, in groups of sequences of less than one. */
const long = pack(Array.from({ length: 400 }, (_, s) => [randomDocument(1000, vocabulary, s)]))
const short = pack([[randomDocument(60, vocabulary, 1)]])
const step = {
  step: 1,
  learningRate: 5e-3,
  gradientScale: 1 / 59,
  maxGradientNorm: 1,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0.01,
}

const outcome = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: NativeError) => error.code,
  )

suite('a stop in the middle of a micro-batch', () => {
  const { tensors, dispose } = randomWeights(oddArchitecture)
  let model: Model
  let adapter: Adapter
  before(async () => {
    const quantization = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const
    model = await loadModel(oddArchitecture, tensors, { quantization, threads: 2 })
    adapter = await model.createAdapter(lora)
    await model.accumulate(adapter, short, 1)
    await model.optimizerStep(adapter, step)
  })
  after(() => {
    model.close()
    dispose()
  })
  const state = () => [adapter.tensors(), adapter.optimizerState()]

  test('parameters and moments are read without waiting for it, and are those of the last optimizer step', async () => {
    const before = state()
    const running = outcome(model.accumulate(adapter, long, 2))
    await sleep(100)
    assert.deepEqual(state(), before)
    model.cancel() // had the reading waited, there would be nothing left to cancel
    assert.equal(await running, 'CANCELLED')
    assert.deepEqual(state(), before)
  })

  test('what was queued is cancelled too; what comes after runs as if nothing had been', async () => {
    model.discardGradients(adapter)
    const { nll } = await model.accumulate(adapter, short, 2)
    const expected = adapter.gradients()
    model.discardGradients(adapter)
    const before = [model.accumulate(adapter, long, 2), model.evaluate(adapter, long), model.evaluate(adapter, short)]
    model.cancel()
    const after = model.evaluate(adapter, short)
    assert.deepEqual(await Promise.all(before.map(outcome)), ['CANCELLED', 'CANCELLED', 'CANCELLED'])
    assert.equal(await outcome(after), 'done')
    model.discardGradients(adapter)
    assert.equal((await model.accumulate(adapter, short, 2)).nll, nll)
    assert.deepEqual(adapter.gradients(), expected)
  })

  test('a cancel between two operations changes nothing, and a closed model ignores it', async () => {
    model.cancel()
    assert.equal(await outcome(model.evaluate(adapter, short)), 'done')
    const other = await loadModel(oddArchitecture, tensors, {
      quantization: { type: 'None', blockSize: 64, doubleQuantization: false },
      threads: 1,
    })
    other.close()
    other.cancel()
  })
})
