/** The plan of a run's memory against what the engine, and the process around it, then take. */
import assert from 'node:assert/strict'

import { spawnSync } from 'node:child_process'
import { after, suite, test } from 'node:test'
import { linearModules } from '../../trainer-image/model/llama.ts'
import {
  type Adapter,
  type Architecture,
  engineInfo,
  loadModel,
  type Model,
  type Quantization,
} from '../../trainer-image/native/index.ts'
import { type MemoryNeeds, memoryItems } from '../../trainer-image/train/memory-items.ts'
import { lora, oddArchitecture, pack, randomDocument, randomWeights } from './random-model.ts'

const nf4 = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const
const stored = { type: 'None', blockSize: 64, doubleQuantization: false } as const
const policies = ['None', 'Selective', 'Full'] as const

/** Sizes in the proportions of a real model, small. */
const small: Architecture = {
  ...oddArchitecture,
  hiddenSize: 192,
  intermediateSize: 512,
  layers: 3,
  heads: 6,
  headSize: 32,
  vocabularySize: 3001,
}

interface Case {
  readonly name: string
  readonly architecture: Architecture
  readonly quantization: Quantization
  readonly threads: number
  readonly documents: readonly number[]
  readonly microBatchSize: number
}
const cases: readonly Case[] = [
  {
    name: 'four documents in each of three sequences',
    architecture: small,
    quantization: nf4,
    threads: 2,
    documents: [64, 64, 64, 64],
    microBatchSize: 3,
  },
  {
    name: 'one document longer than a group',
    architecture: small,
    quantization: stored,
    threads: 1,
    documents: [1100],
    microBatchSize: 2,
  },
  {
    name: 'a large vocabulary beside a small model',
    architecture: { ...small, layers: 2, vocabularySize: 20_000, tiedEmbeddings: false },
    quantization: nf4,
    threads: 3,
    documents: [256, 256, 256, 256],
    microBatchSize: 1,
  },
  {
    name: 'odd sizes, scales not quantised',
    architecture: oddArchitecture,
    quantization: { ...nf4, blockSize: 128, doubleQuantization: false },
    threads: 2,
    documents: [100, 100],
    microBatchSize: 1,
  },
]

const { instructionPath: f32Path, instructionPaths } = engineInfo()
/** A policy changes the activations alone, bf16 products what is beside them: under Full that is the larger part. */
const ways = [
  ...policies.map((policy) => ({ policy, instructionPath: f32Path })),
  ...instructionPaths
    .filter((path) => path === 'avx512_bf16')
    .map((instructionPath) => ({ policy: 'Full' as const, instructionPath })),
]

for (const { name, architecture, quantization, threads, documents, microBatchSize } of cases)
  suite(`the engine takes what was planned: ${name}`, () => {
    const { tensors, dispose } = randomWeights(architecture)
    after(dispose)
    for (const { policy, instructionPath } of ways)
      test(`${policy}, ${instructionPath}`, async () => {
        const options = { quantization, threads, activationCheckpointing: policy, instructionPath }
        const model = await loadModel(architecture, tensors, options)
        const adapter = await model.createAdapter(lora)
        const sequence = documents.map((length, i) => randomDocument(length, architecture.vocabularySize, i))
        const batch = pack(Array.from({ length: microBatchSize }, () => sequence))
        await model.accumulate(adapter, batch, 1)
        await model.optimizerStep(adapter, {
          step: 1,
          learningRate: 1e-3,
          gradientScale: 1e-3,
          maxGradientNorm: 1,
          beta1: 0.9,
          beta2: 0.999,
          epsilon: 1e-8,
          weightDecay: 0,
        })
        await model.evaluate(adapter, batch)
        const { peakBytes } = model.memory()
        model.close()
        const longestSequence = documents.reduce((sum, length) => sum + length, 0)
        const needs: MemoryNeeds = {
          architecture,
          tensors,
          quantization,
          lora: { rank: lora.rank, dropout: lora.dropout, targetModules: linearModules(architecture) },
          threads,
          bf16Products: instructionPath === 'avx512_bf16',
          lengths: {
            longestSequence,
            longestDocument: Math.max(...documents),
            shortestDocument: Math.min(...documents),
            mostDocuments: documents.length,
            mostLabels: longestSequence - documents.length,
          },
          microBatchSize,
          maxSequenceLength: longestSequence,
          heldByNode: 0,
        }
        const { checkpoint: _, generation: __, node: ___, ...engine } = memoryItems(needs, policy)
        const planned = Object.values(engine).reduce((sum, bytes) => sum + bytes, 0)
        const ratio = planned / peakBytes
        assert.ok(ratio >= 1 && ratio < 1.03, `planned ${planned}, taken ${peakBytes}: ${ratio}`)
      })
  })

suite('texts between two steps', () => {
  const { tensors, dispose } = randomWeights(small)
  after(dispose)
  const none = { tokens: new Int32Array(), penalties: new Float32Array() }
  const choice = { temperature: 1, topP: 0.9, random: 0.5, alternatives: 20, ...none }
  const parts = [1, 2, 3].map((part) => Int32Array.from(randomDocument(part * 40, small.vocabularySize, part)))
  const train = (model: Model, adapter: Adapter, length: number) =>
    model.accumulate(adapter, pack([[randomDocument(length, small.vocabularySize, 1)]]), 1)

  test('lie in the memory of the step, where that has room for them, and are planned so', async () => {
    const model = await loadModel(small, tensors, { quantization: nf4, threads: 2 })
    const adapter = await model.createAdapter(lora)
    await train(model, adapter, 512)
    const { residentBytes } = model.memory()
    const sequences = [1, 2].map(() => model.openSequence(adapter, 256))
    for (const tokens of parts) await model.sample(sequences.map((sequence) => ({ sequence, tokens, choice })))
    assert.equal(model.memory().residentBytes, residentBytes)
    const needs: MemoryNeeds = {
      architecture: small,
      tensors,
      quantization: nf4,
      lora: { rank: lora.rank, dropout: lora.dropout, targetModules: linearModules(small) },
      threads: 2,
      lengths: { longestSequence: 512, longestDocument: 512, shortestDocument: 512, mostDocuments: 1, mostLabels: 511 },
      microBatchSize: 1,
      maxSequenceLength: 512,
      bf16Products: false,
      heldByNode: 0,
    }
    assert.equal(memoryItems(needs, 'Selective').generation, 0)
    model.close()
  })

  test('go on in memory of their own when a step comes, with the same logits', async () => {
    const model = await loadModel(small, tensors, { quantization: nf4, threads: 2 })
    const adapter = await model.createAdapter(lora)
    await train(model, adapter, 256)
    const [untouched, moved] = [model.openSequence(adapter, 256), model.openSequence(adapter, 256)]
    const expected = []
    for (const tokens of parts) expected.push(await model.forward([{ sequence: untouched, tokens }]))
    untouched.close()
    const { residentBytes } = model.memory()
    for (const [index, tokens] of parts.entries()) {
      assert.deepEqual(await model.forward([{ sequence: moved, tokens }]), expected[index])
      await train(model, adapter, index < 2 ? 256 : 300) // which grows the step's memory, too
    }
    assert.ok(model.memory().residentBytes > residentBytes)
    moved.close()
    const { residentBytes: after } = model.memory()
    await model.forward([{ sequence: model.openSequence(adapter, 256), tokens: parts[0]! }])
    assert.equal(model.memory().residentBytes, after)
    model.close()
  })
})

/** Trains two steps, evaluates and writes two checkpoints in a process of its own; its last line: {peak, planned}, in bytes. */
const program = (policy: string) => `
  import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
  import { tmpdir } from 'node:os'
  import { join } from 'node:path'
  import { linearModules } from './trainer-image/model/llama.ts'
  import { loadModel } from './trainer-image/native/index.ts'
  import { memoryItems, totalOf } from './trainer-image/train/memory-items.ts'
  import { writeCheckpointFiles } from './trainer-image/train/resume-files.ts'
  import { lora, pack, randomDocument } from './test/parity/random-model.ts'
  const { architecture, tensors, quantization } = JSON.parse(process.env.MODEL)
  const needs = {
    architecture, tensors, quantization, threads: 2, lora: { rank: 16, dropout: 0.05, targetModules: linearModules(architecture) },
    lengths: { longestSequence: 1024, longestDocument: 256, shortestDocument: 256, mostDocuments: 4, mostLabels: 1020 },
    microBatchSize: 4, maxSequenceLength: 1024, heldByNode: process.memoryUsage.rss(),
  }
  const planned = totalOf(memoryItems(needs, '${policy}'))
  const options = { quantization, threads: 2, activationCheckpointing: '${policy}' }
  const model = await loadModel(architecture, tensors, options)
  const config = { ...lora, rank: 16, dropout: 0.05 }
  const adapter = await model.createAdapter(config)
  const document = (i) => randomDocument(256, architecture.vocabularySize, i)
  const sequence = [document(1), document(2), document(3), document(4)]
  const batch = pack([sequence])
  const folder = mkdtempSync(join(tmpdir(), 'memory-plan-'))
  const opened = { files: [], chatTemplate: { source: '' } }
  for (let step = 1; step <= 2; step++) {
    await model.accumulate(adapter, batch, step)
    await model.optimizerStep(adapter, {
      step, learningRate: 1e-3, gradientScale: 1e-3, maxGradientNorm: 1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0,
    })
    await model.evaluate(adapter, batch)
    await writeCheckpointFiles(folder, adapter, { baseModel: 'base', ...config }, opened, '{}')
  }
  rmSync(folder, { recursive: true })
  const [, kilobytes] = /^VmHWM:\\s+(\\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))
  console.log(JSON.stringify({ peak: 1024 * kilobytes, planned }))`

suite('the whole process takes what was planned, and no more than 1.3 times less', () => {
  const architecture: Architecture = {
    ...oddArchitecture,
    hiddenSize: 576,
    intermediateSize: 1536,
    layers: 3,
    heads: 9,
    keyValueHeads: 3,
    headSize: 64,
    vocabularySize: 8192,
  }
  const { tensors, dispose } = randomWeights(architecture)
  after(dispose)
  for (const policy of policies)
    test(policy, (t) => {
      const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program(policy)], {
        cwd: new URL('../..', import.meta.url),
        env: { ...process.env, MODEL: JSON.stringify({ architecture, tensors, quantization: nf4 }) },
        encoding: 'utf8',
      })
      assert.ok(stdout, stderr)
      const { peak, planned } = JSON.parse(stdout.trim().split('\n').at(-1)!)
      const told = `planned ${planned >> 20} MiB, took ${peak >> 20} MiB at most`
      t.diagnostic(told)
      assert.ok(planned >= peak && planned < 1.3 * peak, told)
    })
})
