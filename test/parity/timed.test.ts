import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadModel } from '../../trainer-image/native/index.ts'
import { lora, oddArchitecture, pack, randomDocument, randomWeights } from './random-model.ts'

test('a timed model has the bits of another, and says how often each operation ran and what it needed', async () => {
  const { tensors, dispose } = randomWeights(oddArchitecture)
  const batch = pack([[randomDocument(21, oddArchitecture.vocabularySize, 1)]])
  const options = { quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true }, threads: 2 } as const
  const stepOf = async (timed: boolean) => {
    const model = await loadModel(oddArchitecture, tensors, { ...options, timed })
    const adapter = await model.createAdapter(lora)
    model.takeOpTimes()
    const { nll } = await model.accumulate(adapter, batch, 1)
    const times = model.takeOpTimes()
    assert.deepEqual(model.takeOpTimes(), [])
    model.close()
    return { nll, times }
  }
  const plain = await stepOf(false)
  assert.deepEqual(plain.times, [])
  const { nll, times } = await stepOf(true)
  assert.equal(nll, plain.nll)

  const { layers, heads, headSize } = oddArchitecture
  const tokens = batch.tokens.length
  const of = (name: string) => times.find(({ op }) => op === name)
  assert.equal(of('swiglu_backward')?.calls, layers)
  assert.equal(of('attention_forward')?.operations, layers * 2 * tokens * (tokens + 1) * heads * headSize)
  assert.ok(times.every(({ seconds }) => seconds > 0))
  dispose()
})
