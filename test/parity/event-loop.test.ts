/** Node's event loop while the engine works: probes, calls and beats must be answered in the middle of a step. */
import assert from 'node:assert/strict'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { after, before, suite, test } from 'node:test'
import { type Adapter, loadModel, type Model } from '../../trainer-image/native/index.ts'
import { lora, oddArchitecture, pack, randomDocument, randomWeights } from './random-model.ts'

const architecture = { ...oddArchitecture, hiddenSize: 192, intermediateSize: 512, layers: 4, heads: 6, headSize: 32 }
const vocabulary = architecture.vocabularySize
const TICK = 5 // milliseconds

/** What ticks of a timer and the histogram of delays say while work goes on. */
async function watched(work: () => Promise<unknown>) {
  const delays = monitorEventLoopDelay({ resolution: TICK })
  let ticks = 0
  const timer = setInterval(() => void ticks++, TICK)
  delays.enable()
  const began = performance.now()
  await work()
  const milliseconds = performance.now() - began
  delays.disable()
  clearInterval(timer)
  return { ticks, milliseconds, median: delays.percentile(50) / 1e6, longest: delays.max / 1e6 }
}

suite('the event loop turns while the engine computes', () => {
  const { tensors, dispose } = randomWeights(architecture)
  let model: Model
  let adapter: Adapter
  before(async () => {
    const quantization = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const
    // One thread, so that a machine of two processors has one left for Node.
    model = await loadModel(architecture, tensors, { quantization, threads: 1 })
    adapter = await model.createAdapter({ ...lora, dropout: 0.05 })
  })
  after(() => {
    model.close()
    dispose()
  })

  const batch = pack([[randomDocument(1000, vocabulary, 1)], [randomDocument(1000, vocabulary, 2)]])
  const prompt = Int32Array.from(randomDocument(2000, vocabulary, 3))
  const cases: [string, () => Promise<unknown>][] = [
    ['one step of training', () => model.accumulate(adapter, batch, 1)],
    ['one evaluation', () => model.evaluate(adapter, batch)],
    [
      'one prompt of a generation',
      async () => {
        const sequence = model.openSequence(adapter, 2000)
        await model.forward([{ sequence, tokens: prompt }])
        sequence.close()
      },
    ],
  ]
  for (const [name, work] of cases)
    test(`during ${name}`, async (t) => {
      const { ticks, milliseconds, median, longest } = await watched(work)
      t.diagnostic(
        `${milliseconds.toFixed(0)} ms, ${ticks} ticks, delay ${median.toFixed(1)} ms, at most ${longest.toFixed(1)}`,
      )
      // A loop that was blocked ticks once or twice, whatever the machine; one that shares its processor with others ticks less often.
      assert.ok(milliseconds > 20 * TICK, `the operation is too short to tell: ${milliseconds} ms`)
      assert.ok(ticks >= milliseconds / TICK / 5, `${ticks} ticks in ${milliseconds} ms`)
      assert.ok(median < milliseconds / 10, `median ${median} ms of ${milliseconds} ms`)
    })
})
