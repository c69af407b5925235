/** What backward finds in memory and what it makes again: the numbers are the same bits, the memory is not the same. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import {
  type ActivationCheckpointing,
  type Adapter,
  type Architecture,
  type Batch,
  engineInfo,
  type InstructionPath,
  type LoraConfig,
  loadModel,
} from '../../trainer-image/native/index.ts'
import { firstStep, lora, oddArchitecture, pack, randomDocument, randomWeights } from './random-model.ts'

const policies = ['None', 'Selective', 'Full'] as const
const vocabulary = oddArchitecture.vocabularySize

/** Ragged documents in two groups of sequences; the first five tokens of each are a prompt without loss. */
const long = pack(
  [
    [randomDocument(250, vocabulary, 1), randomDocument(181, vocabulary, 2)],
    [randomDocument(77, vocabulary, 3)],
    [randomDocument(530, vocabulary, 4), randomDocument(13, vocabulary, 5)],
  ],
  (position) => position > 4,
)
/** So few rows that products go another way (few_rows.h). */
const short = pack([[randomDocument(7, vocabulary, 6)]])

const outcomeOf = (adapter: Adapter) => ({
  tensors: adapter.tensors(),
  gradients: adapter.gradients(),
  optimizer: adapter.optimizerState(),
})

/** Two optimizer steps: every loss and norm, the gradients of the last micro-batch, adapter and moments; and the peak. */
async function train(
  activationCheckpointing: ActivationCheckpointing,
  {
    architecture,
    config,
    batch,
    instructionPath,
  }: { architecture: Architecture; config: LoraConfig; batch: Batch; instructionPath?: InstructionPath },
) {
  const { tensors, dispose } = randomWeights(architecture)
  const quantization = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const
  const options = { quantization, threads: 2, activationCheckpointing }
  const model = await loadModel(architecture, tensors, instructionPath ? { ...options, instructionPath } : options)
  dispose()
  const adapter = await model.createAdapter(config)
  const figures: object[] = []
  for (let step = 1; step <= 2; step++) {
    figures.push(await model.accumulate(adapter, batch, step))
    const options = { step, learningRate: 5e-3, gradientScale: 1e-3, maxGradientNorm: 1, weightDecay: 0.01 }
    figures.push(await model.optimizerStep(adapter, { ...options, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }))
  }
  figures.push(await model.accumulate(adapter, batch, 3))
  const outcome = { figures, ...outcomeOf(adapter) }
  const { peakBytes } = model.memory()
  model.close()
  return { outcome, peakBytes }
}

suite('trap 16: activation checkpointing and a frozen base', () => {
  const cases = [
    { name: 'all linear layers, dropout 0.1', config: { ...lora, dropout: 0.1 }, batch: long },
    { name: 'seven tokens, no dropout', config: lora, batch: short },
    {
      name: 'o_proj alone: backward of the first layer ends early',
      config: { ...lora, targetModules: ['o_proj'] },
      batch: long,
    },
    { name: 'down_proj alone', config: { ...lora, targetModules: ['down_proj'], dropout: 0.1 }, batch: long },
  ]
  const { instructionPaths } = engineInfo()
  // Which layers end early is the same code on every path: the first and the last stand for all.
  const ends = [instructionPaths[0], instructionPaths.at(-1)]
  for (const instructionPath of instructionPaths)
    for (const { name, ...given } of ends.includes(instructionPath) ? cases : cases.slice(0, 2))
      test(`trap 16: None, Selective and Full give the same bits on ${instructionPath}: ${name}`, async () => {
        const run = { architecture: oddArchitecture, instructionPath, ...given }
        const [none, selective, full] = [
          await train('None', run),
          await train('Selective', run),
          await train('Full', run),
        ]
        assert.deepEqual(selective.outcome, none.outcome)
        assert.deepEqual(full.outcome, none.outcome)
        assert.ok(none.peakBytes > selective.peakBytes && selective.peakBytes > full.peakBytes)
      })

  test('trap 16: one layer, where Full has nothing to make again', async () => {
    const given = { architecture: { ...oddArchitecture, layers: 1 }, config: lora, batch: long }
    assert.deepEqual((await train('Full', given)).outcome, (await train('None', given)).outcome)
  })

  test('trap 16: on a CPU Offload is Full', async () => {
    const given = { architecture: oddArchitecture, config: lora, batch: long }
    assert.deepEqual(await train('Offload', given), await train('Full', given))
  })

  for (const policy of policies)
    test(`trap 16: with ${policy} every B has a gradient at the first step, and every A at the second`, async () => {
      const { tensors, dispose } = randomWeights(oddArchitecture)
      const quantization = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const
      const options = { quantization, threads: 2, activationCheckpointing: policy }
      const model = await loadModel(oddArchitecture, tensors, options)
      dispose()
      const adapter = await model.createAdapter(lora)
      const silent = () =>
        adapter
          .gradients()
          .filter(({ data }) => data.every((value) => value === 0))
          .map(({ name }) => name)
      await model.accumulate(adapter, long, 1)
      // B is zero at first, and dA with it.
      assert.deepEqual(
        silent(),
        adapter.gradients().flatMap(({ name }) => (name.includes('lora_A') ? [name] : [])),
      )
      await model.optimizerStep(adapter, firstStep)
      await model.accumulate(adapter, long, 2)
      assert.deepEqual(silent(), [])
      model.close()
    })
})
