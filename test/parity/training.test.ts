import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import {
  type Adapter,
  type Batch,
  engineInfo,
  type LoraConfig,
  loadModel,
  type Model,
} from '../../trainer-image/native/index.ts'
import { readOptimizer, writeOptimizer } from '../../trainer-image/train/resume-files.ts'
import { lora, oddArchitecture, pack, random, randomDocument, randomWeights, relativeError } from './random-model.ts'

const vocabulary = oddArchitecture.vocabularySize
const quantization = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const

const step = (number: number, labelTokens: number) => ({
  step: number,
  learningRate: 5e-3,
  gradientScale: 1 / labelTokens,
  maxGradientNorm: 1,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0.01,
})

const flat = (adapter: Adapter) => adapter.gradients().flatMap(({ data }) => [...data])
const parameters = (adapter: Adapter) => adapter.tensors().flatMap(({ data }) => [...data])

/** Sixteen packed sequences of ragged documents, the first third of each a prompt without loss. */
const sequences = Array.from({ length: 16 }, (_, s) =>
  Array.from({ length: 1 + (s % 3) }, (_, d) => randomDocument(9 + ((s * 37 + d * 53) % 120), vocabulary, 100 * s + d)),
)
const labelled = (position: number) => position > 4

/** The micro-batch of sequences [begin, end), which keep their ordinals in the effective batch. */
function micro(begin: number, end: number): Batch {
  return {
    ...pack(sequences.slice(begin, end), labelled),
    sequenceOrdinals: Int32Array.from({ length: end - begin }, (_, i) => begin + i),
  }
}

/** The same f32 sums, taken in another order. */
const REORDERED = 1e-5

suite('training', () => {
  const { instructionPaths } = engineInfo()
  const { tensors, dispose } = randomWeights(oddArchitecture)
  let model: Model
  before(async () => {
    model = await loadModel(oddArchitecture, tensors, { quantization, threads: 2 })
  })
  after(() => {
    model.close()
    dispose()
  })

  /** An adapter whose B is not zero, so that A has gradients. */
  async function adapterOf(config: LoraConfig): Promise<Adapter> {
    const next = random(3)
    const fresh = await model.createAdapter(config)
    const filled = fresh.tensors().map(({ name, shape, data }) => ({
      name,
      shape,
      data: name.includes('lora_B') ? data.map(() => 0.2 * (next() - 0.5)) : data,
    }))
    fresh.close()
    return await model.loadAdapter(config, filled)
  }

  async function gradientsOf(adapter: Adapter, batches: readonly Batch[], optimizerStep = 1): Promise<number[]> {
    for (const batch of batches) await model.accumulate(adapter, batch, optimizerStep)
    const gradients = flat(adapter)
    model.discardGradients(adapter)
    return gradients
  }

  for (const dropout of [0, 0.25])
    test(`trap 1: sixteen sequences at once or four by four accumulate the same gradients, dropout ${dropout}`, async () => {
      const adapter = await adapterOf({ ...lora, dropout })
      const whole = await gradientsOf(adapter, [micro(0, 16)])
      const quarters = await gradientsOf(adapter, [micro(0, 4), micro(4, 8), micro(8, 12), micro(12, 16)])
      const single = await gradientsOf(
        adapter,
        Array.from({ length: 16 }, (_, i) => micro(i, i + 1)),
      )
      assert.ok(whole.some((value) => value !== 0))
      assert.ok(relativeError(quarters, whole) < REORDERED, String(relativeError(quarters, whole)))
      assert.ok(relativeError(single, whole) < REORDERED, String(relativeError(single, whole)))
    })

  test('trap 2: packed documents give the losses and gradients of documents alone', async () => {
    const adapter = await adapterOf(lora)
    const documents = sequences.flat().slice(0, 5)
    const packed = pack([documents], labelled)
    const alone = documents.map((document) => pack([[document]], labelled))
    const { nll } = await model.evaluate(adapter, packed)
    for (const [i, batch] of alone.entries()) {
      const { nll: single } = await model.evaluate(adapter, batch)
      assert.ok(Math.abs(single[0]! / nll[i]! - 1) < REORDERED, `document ${i}: ${single[0]} and ${nll[i]}`)
    }
    const error = relativeError(await gradientsOf(adapter, [packed]), await gradientsOf(adapter, alone))
    assert.ok(error < REORDERED, String(error))
  })

  for (const instructionPath of instructionPaths)
    test(`trap 2: a document does not see its neighbour: changing one leaves the other’s loss bit for bit, ${instructionPath}`, async () => {
      const model = await loadModel(oddArchitecture, tensors, { quantization, threads: 2, instructionPath })
      const first = randomDocument(90, vocabulary, 1)
      const second = randomDocument(70, vocabulary, 2)
      const changed = first.map((token) => (token + 1) % vocabulary)
      const before = await model.evaluate(undefined, pack([[first, second]]))
      const after = await model.evaluate(undefined, pack([[changed, second]]))
      assert.notEqual(before.nll[0], after.nll[0])
      assert.equal(before.nll[1], after.nll[1])
      model.close()
    })

  test('trap 10: a batch without labels has no loss, no gradient and no NaN', async () => {
    const adapter = await adapterOf(lora)
    const batch = pack([[randomDocument(50, vocabulary, 1)]], () => false)
    assert.deepEqual(await model.accumulate(adapter, batch, 1), { nll: 0, labelTokens: 0 })
    assert.ok(flat(adapter).every((value) => value === 0))
    const { nll, labelTokens } = await model.evaluate(adapter, batch)
    assert.deepEqual([...nll, ...labelTokens], [0, 0])
  })

  test('trap 26: dropout: one step has one mask, another step, sequence or seed another', async () => {
    const adapter = await adapterOf({ ...lora, dropout: 0.3 })
    const reseeded = await adapterOf({ ...lora, dropout: 0.3, seed: 8 })
    await reseeded.close()
    const batch = micro(0, 2)
    const loss = async (of: Adapter, from: Batch, number: number) => {
      const { nll } = await model.accumulate(of, from, number)
      model.discardGradients(of)
      return nll
    }
    const first = await loss(adapter, batch, 1)
    assert.equal(await loss(adapter, batch, 1), first)
    assert.notEqual(await loss(adapter, batch, 2), first)
    assert.notEqual(await loss(adapter, { ...batch, sequenceOrdinals: Int32Array.of(5, 6) }, 1), first)
    const off = (await model.evaluate(adapter, batch)).nll.reduce((sum, value) => sum + value, 0)
    assert.ok(Math.abs(off / first - 1) < 0.2 && off !== first)
  })

  test('trap 26: dropout’s backward replays the mask of its forward: central differences of the training loss agree', async () => {
    const adapter = await adapterOf({ ...lora, dropout: 0.3 })
    const batch = micro(2, 4)
    const gradients = flat(adapter).length ? await gradientsOf(adapter, [batch]) : []
    const start = adapter.tensors()
    // Along the gradient's own direction the change is largest against the rounding of the loss.
    const length = Math.hypot(...gradients)
    const moved = async (distance: number) => {
      let at = 0
      const config = adapter.config
      const shifted = await model.loadAdapter(
        config,
        start.map(({ name, shape, data }) => ({
          name,
          shape,
          data: data.map((value) => value + (distance * gradients[at++]!) / length),
        })),
      )
      const { nll } = await model.accumulate(shifted, batch, 1)
      shifted.close()
      return nll
    }
    const distance = 1e-2
    const slope = ((await moved(distance)) - (await moved(-distance))) / (2 * distance)
    assert.ok(Math.abs(slope / length - 1) < 2e-3, `slope ${slope}, gradient ${length}`)
  })

  const optimizers = [
    { optimizer: 'AdamW', rank: lora.rank, in8: 0 },
    // Of rank 64 the matrices on the side of the 72 have 4608 values: moments in 8 bits beside others in f32.
    { optimizer: 'AdamW8bit', rank: 64, in8: 3 * oddArchitecture.layers },
  ] as const
  const ways = optimizers.flatMap((way) => instructionPaths.map((instructionPath) => ({ ...way, instructionPath })))
  for (const { optimizer, rank, in8, instructionPath } of ways)
    test(`traps 11 and 12: ${optimizer}, training resumed from a checkpoint’s files goes on bit for bit, ${instructionPath}`, async () => {
      const options = { quantization, threads: 2, instructionPath }
      let model = await loadModel(oddArchitecture, tensors, options)
      const config = { ...lora, rank, alpha: 2 * rank, dropout: 0.1, optimizer }
      const straight = await model.createAdapter(config)
      const labelTokens = sequences.flat().reduce((sum, document) => sum + document.length - 6, 0)
      const train = async (adapter: Adapter, from: number, to: number) => {
        const losses: number[] = []
        for (let number = from; number <= to; number++) {
          losses.push((await model.accumulate(adapter, micro(0, 8), number)).nll)
          await model.optimizerStep(adapter, step(number, labelTokens))
        }
        return losses
      }
      await train(straight, 1, 2)
      const saved = structuredClone({ tensors: straight.tensors(), optimizer: straight.optimizerState() })
      const { firstMoment } = saved.optimizer
      assert.equal(firstMoment.filter(({ data }) => data instanceof Uint8Array).length, in8)
      assert.ok(firstMoment.every(({ data, absmax }) => data instanceof Uint8Array === (absmax !== undefined)))
      const folder = mkdtempSync(join(tmpdir(), 'optimizer-'))
      await writeOptimizer(folder, saved.optimizer)
      const losses = await train(straight, 3, 4)
      model.close()
      model = await loadModel(oddArchitecture, tensors, options)
      const resumed = await model.loadAdapter(config, saved.tensors)
      resumed.restoreOptimizer(await readOptimizer(folder, saved.tensors))
      rmSync(folder, { recursive: true })
      assert.deepEqual(await train(resumed, 3, 4), losses)
      assert.deepEqual(resumed.tensors(), straight.tensors())
      assert.deepEqual(resumed.optimizerState(), straight.optimizerState())
      model.close()
    })

  test('moments of another optimizer are refused', async () => {
    const config = { ...lora, rank: 64, optimizer: 'AdamW8bit' } as const
    const [eight, full] = [
      await model.createAdapter(config),
      await model.createAdapter({ ...config, optimizer: 'AdamW' }),
    ]
    for (const [into, from] of [
      [eight, full],
      [full, eight],
    ] as const)
      assert.throws(() => into.restoreOptimizer(from.optimizerState()), {
        code: 'DATA_INVALID',
        message: /the moments of .* are not as this optimizer keeps them: expected 4608/,
      })
  })

  test('moments in 8 bits take a quarter of the memory', async () => {
    const sizes: number[] = []
    for (const optimizer of ['AdamW', 'AdamW8bit'] as const) {
      const adapter = await model.createAdapter({ ...lora, rank: 1024, optimizer })
      const before = model.memory().residentBytes
      adapter.optimizerState()
      sizes.push(model.memory().residentBytes - before)
      adapter.close()
    }
    const [full, eight] = sizes
    assert.ok(eight! < 0.26 * full! && eight! > 0.25 * full!, `${eight} of ${full} bytes`)
  })

  test('trap 17: a gradient that is not finite leaves the adapter and its moments as they are', async () => {
    const adapter = await adapterOf(lora)
    await model.accumulate(adapter, micro(0, 1), 1)
    const earlier = { parameters: parameters(adapter), moments: adapter.optimizerState() }
    const outcome = await model.optimizerStep(adapter, { ...step(1, 1), gradientScale: Number.POSITIVE_INFINITY })
    assert.equal(outcome.finite, false)
    assert.deepEqual({ parameters: parameters(adapter), moments: adapter.optimizerState() }, earlier)
    assert.ok(flat(adapter).every((value) => value === 0))
  })

  for (const targetModules of [
    ['down_proj'],
    ['gate_proj', 'down_proj'],
    ['o_proj'],
    ['v_proj'],
    ['q_proj', 'up_proj'],
  ])
    test(`with ${targetModules.join(' and ')} alone the gradients are those of the full backward pass`, async () => {
      const full = await adapterOf(lora)
      // The other modules' B is zero in both, so that both models are the same function.
      const own = (name: string) => targetModules.some((target) => name.includes(target))
      const start = full.tensors().map(({ name, shape, data }) => ({
        name,
        shape,
        data: own(name) || name.includes('lora_A') ? data : data.fill(0),
      }))
      const every = await model.loadAdapter(lora, start)
      const some = await model.loadAdapter(
        { ...lora, targetModules },
        start.filter(({ name }) => own(name)),
      )
      await model.accumulate(every, micro(3, 5), 1)
      await model.accumulate(some, micro(3, 5), 1)
      const expected = new Map(every.gradients().map(({ name, data }) => [name, data]))
      for (const { name, data } of some.gradients()) {
        const error = relativeError(data, expected.get(name)!)
        assert.ok(error < REORDERED, `${name}: ${error}`)
      }
    })
})
