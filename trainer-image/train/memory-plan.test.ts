import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JobFailure } from '../job/failure.ts'
import { expectedTensors, linearModules } from '../model/llama.ts'
import type { ActivationCheckpointing, Architecture } from '../native/index.ts'
import { type MemoryNeeds, memoryItems, textNeedsOf, totalOf } from './memory-items.ts'
import { beyondPlan, planMemory } from './memory-plan.ts'
import { largestPass } from './pass-shape.ts'
import { graphBytes, stepOperations } from './step-graphs.ts'
import { textPass, textsBeyondStep, textsWithinStep } from './text-memory.ts'

/** Llama 3.2 3B. */
const architecture: Architecture = {
  family: 'llama',
  hiddenSize: 3072,
  intermediateSize: 8192,
  layers: 28,
  heads: 24,
  keyValueHeads: 8,
  headSize: 128,
  vocabularySize: 128_256,
  rmsNormEpsilon: 1e-5,
  ropeTheta: 500_000,
  tiedEmbeddings: true,
  maxPositions: 131_072,
  qkvBias: false,
  outputBias: false,
  fusedProjections: false,
}
const MiB = 2 ** 20
const needs: MemoryNeeds = {
  architecture,
  tensors: [...expectedTensors(architecture)].map(([name, shape]) => ({
    name,
    shape,
    bytes: 2 * shape.reduce((product, size) => product * size, 1),
  })),
  quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true },
  lora: { rank: 32, dropout: 0.05, targetModules: linearModules(architecture) },
  threads: 16,
  lengths: { longestSequence: 1024, longestDocument: 1024, shortestDocument: 128, mostDocuments: 8, mostLabels: 1024 },
  microBatchSize: 4,
  maxSequenceLength: 1024,
  bf16Products: false,
  heldByNode: 200 * MiB,
}
const totals = Object.fromEntries(
  (['None', 'Selective', 'Full'] as const).map((policy) => [policy, totalOf(memoryItems(needs, policy))]),
)

test('the items of Llama 3.2 3B are those of the formulas in the literature', () => {
  const items = memoryItems(needs, 'Selective')
  const linear = 28 * (3072 * (3072 + 2 * 1024) + 3072 * 3072 + 3 * 3072 * 8192)
  // 4.127 bits a weight (QLoRA), the tied embedding in bfloat16, 57 norms in float32
  const weights = (linear * 4.127) / 8 + 2 * 128_256 * 3072 + 57 * 3072 * 4
  assert.ok(Math.abs(items.baseWeights / weights - 1) < 1e-4, `${items.baseWeights} and ${weights}`)
  assert.equal(items.adapter, 4 * 48_627_712) // PEFT's count for rank 32 on all linear layers
  assert.deepEqual([items.gradients, items.optimizer], [items.adapter, 2 * items.adapter])
  assert.deepEqual(memoryItems(needs, 'Full').baseWeights, items.baseWeights)
})

const passes: [string, Parameters<typeof largestPass>, ReturnType<typeof largestPass>][] = [
  [
    'a group ends before 1,024 tokens',
    [needs.lengths, 4, 1024],
    { tokens: 1024, documents: 8, labels: 1024, longest: 1024 },
  ],
  [
    'a longer sequence is a group',
    [{ ...needs.lengths, longestSequence: 3000, longestDocument: 2000 }, 4, 4096],
    { tokens: 3000, documents: 23, labels: 3000, longest: 2000 },
  ],
  [
    'documents are no more than the sequences have',
    [{ ...needs.lengths, mostDocuments: 1 }, 4, 1024],
    { tokens: 1024, documents: 4, labels: 1024, longest: 1024 },
  ],
  [
    'a small micro-batch is less',
    [{ ...needs.lengths, longestSequence: 256, longestDocument: 200, mostLabels: 100 }, 2, 256],
    { tokens: 512, documents: 4, labels: 200, longest: 200 },
  ],
  [
    'of one short text there is one',
    [{ longestSequence: 50, longestDocument: 50, shortestDocument: 50, mostDocuments: 1, mostLabels: 30 }, 1, 1024],
    { tokens: 50, documents: 1, labels: 30, longest: 50 },
  ],
]
for (const [name, given, want] of passes)
  test(`the largest pass: ${name}`, () => assert.deepEqual(largestPass(...given), want))

const available = (bytes: number): number => bytes - needs.heldByNode
for (const [limit, policy] of [
  [totals.None, 'None'],
  [totals.None! - 1, 'Selective'],
  [totals.Selective! - 1, 'Full'],
  [totals.Full, 'Full'],
] as const)
  test(`Auto with ${Math.ceil(limit! / MiB)} MiB takes ${policy}, with the reason`, () => {
    const plan = planMemory(needs, 'Auto', 4, available(limit!))
    assert.equal(plan.activationCheckpointing, policy)
    assert.deepEqual([plan.items, plan.total, plan.limit], [memoryItems(needs, policy), totals[policy], limit])
    assert.match(plan.reason, new RegExp(`^Auto: .*${policy} needs ${Math.ceil(totals[policy]! / MiB)} MiB of `))
  })

test('a policy that is named is taken, though another would fit with more speed', () => {
  const plan = planMemory(needs, 'Full', 4, available(totals.None!))
  assert.equal(plan.activationCheckpointing, 'Full')
  assert.match(plan.reason, /^as asked: Full needs/)
})

const refused = (of: MemoryNeeds, asked: 'Auto' | 'None' | 'Full', limit: number, ...words: RegExp[]) => {
  for (const message of words)
    assert.throws(() => planMemory(of, asked, 4, limit - of.heldByNode), { reason: 'DeviceOutOfMemory', message })
}

test('what does not fit even with Full is refused with the items and what would fit', () => {
  const limit = totals.Full! - 1
  refused(
    needs,
    'Auto',
    limit,
    /None needs \d+ MiB, Selective needs \d+ MiB, Full needs \d+ MiB, this process may take \d+ MiB/,
    /\(baseWeights \d+ MiB, adapter 186 MiB, .*, node \d+ MiB\)/,
    /expected training\.maxSequenceLength 992, or a memory limit that is 1 MiB higher$/,
  )
  const changed = { ...needs, maxSequenceLength: 992 }
  assert.equal(planMemory(changed, 'Auto', 4, available(limit)).activationCheckpointing, 'Full')
})

test('a smaller micro-batch is proposed where it helps: where its tokens are less than a group', () => {
  const short = {
    ...needs,
    lengths: { ...needs.lengths, longestSequence: 256, longestDocument: 256 },
    maxSequenceLength: 256,
  }
  const limit = totalOf(memoryItems({ ...short, microBatchSize: 2 }, 'Full'))
  refused(short, 'Auto', limit, /expected training\.microBatchSize 2 with gradientAccumulation 8, or training\.max/)
})

test('a policy that is named and does not fit is refused; Auto is proposed where it would', () => {
  refused(needs, 'None', totals.Selective!, /expected training\.activationCheckpointing Auto, or training\.max/)
  refused(needs, 'None', 0, /expected a memory limit that is \d+ MiB higher$/)
})

// docs/gpu-performance.md: 3B at the default settings fits a GPU of 8 GiB.
const onGpu: MemoryNeeds = { ...needs, heldByNode: 0, activationBytes: 2 }
test('on a GPU its own memory is planned, and a 3B run at the default settings fits 8 GiB', () => {
  const plan = planMemory(onGpu, 'Auto', 4, 7.5 * 2 ** 30)
  assert.ok(plan.total < 7.5 * 2 ** 30)
  assert.deepEqual([plan.items.node, plan.items.checkpoint], [0, 0])
  assert.equal(plan.items.baseWeights, memoryItems(needs, 'Full').baseWeights)
  refused(
    onGpu,
    'Auto',
    3 * 2 ** 30,
    /does not fit in the GPU's memory: .*, it has free 3072 MiB/,
    /expected (training\..*, or )?a GPU with \d+ MiB more$/,
  )
})

test("on a GPU Auto at last lets layers' inputs wait in the host's memory, where that has room", () => {
  const full = totalOf(memoryItems(onGpu, 'Full'))
  const offloaded = 26 * 4 * 1024 * 3072 * 2
  const plan = planMemory(onGpu, 'Auto', 4, full - 1, offloaded)
  assert.deepEqual([plan.activationCheckpointing, plan.offloaded], ['Offload', offloaded])
  assert.ok(full - plan.total === 25 * 4 * 1024 * 3072 * 2) // two inputs of 28 are there, and under Full the first is not
  assert.match(
    plan.reason,
    /^Auto: .*Full needs \d+ MiB, Offload needs \d+ MiB and 624 MiB of the host's, which has 624 MiB of/,
  )
  assert.equal('offloaded' in planMemory(onGpu, 'Auto', 4, full, offloaded), false)
  assert.throws(() => planMemory(onGpu, 'Auto', 4, full - 1, offloaded - 1), {
    reason: 'DeviceOutOfMemory',
    message: /Offload needs .*; expected training\.microBatchSize 2 with gradientAccumulation 8/,
  })
  assert.throws(() => planMemory(onGpu, 'Offload', 4, full, offloaded - 1), {
    message: /expected training\.activationCheckpointing Auto, .*or a memory limit that is 1 MiB higher$/,
  })
  const onCpu = planMemory(needs, 'Offload', 4, available(totals.Full!))
  assert.deepEqual([onCpu.items, onCpu.offloaded], [memoryItems(needs, 'Full'), undefined])
})

test('the goals of memory are planned on a GPU, texts between steps included: 4 × 1024 under Full in 4 GiB, 2 × 4096 under Offload in 4.6', () => {
  const step = (length: number, sequences: number, policy: ActivationCheckpointing): number => {
    const lengths = { ...onGpu.lengths, longestSequence: length, longestDocument: length, mostLabels: length }
    const items = memoryItems({ ...onGpu, lengths, microBatchSize: sequences, maxSequenceLength: length }, policy)
    assert.equal(items.generation, 0)
    return totalOf(items) / 2 ** 30
  }
  assert.ok(step(1024, 4, 'Full') <= 4)
  assert.ok(step(4096, 2, 'Offload') <= 4.6)
})

test('on a GPU what the plan leaves is for CUDA graphs, if it holds four; they change neither policy nor refusal', () => {
  for (const policy of ['None', 'Full', 'Offload'] as const) {
    const step = totalOf(memoryItems(onGpu, policy))
    const graphs = graphBytes(onGpu, policy)
    const kept = planMemory(onGpu, policy, 4, step + graphs)
    assert.deepEqual([kept.items.graphs, kept.total, kept.total - totalOf(kept.items)], [graphs, step + graphs, 0])
    assert.doesNotMatch(kept.reason, /graphs/)
    const none = planMemory(onGpu, policy, 4, step + graphs - 1)
    assert.deepEqual([none.activationCheckpointing, none.items.graphs, none.total], [policy, 0, step])
    assert.match(none.reason, new RegExp(`; no CUDA graphs, which would take ${Math.ceil(graphs / MiB)} MiB more$`))
  }
  const selective = totalOf(memoryItems(onGpu, 'Selective'))
  assert.equal(planMemory(onGpu, 'Auto', 4, selective).activationCheckpointing, 'Selective')
  assert.equal(planMemory(needs, 'Auto', 4, 64 * 2 ** 30).items.graphs, 0)
})

test('the operations of a step are those of its layers, and those of the head once for each of its parts', () => {
  assert.equal(stepOperations(onGpu, 'None'), 2 + 20 + 28 * 93 + 4 * (1 + 32 * 6)) // 4,096 rows in parts of 1,040
  assert.equal(stepOperations(onGpu, 'Full') - stepOperations(onGpu, 'None'), 28 * 2 + 27 * 29 + 4 * 32 * 2)
  const deeper = { ...onGpu, architecture: { ...architecture, layers: 29 } }
  assert.equal(stepOperations(deeper, 'Offload') - stepOperations(onGpu, 'Offload'), 93 + 31 + 2)
  const once = stepOperations(onGpu, 'Selective') - 2
  const twice = { ...onGpu, microBatchSize: 16 } // 8 of 1,024 tokens are a pass
  assert.ok(stepOperations(twice, 'Selective') - 2 >= 2 * once)
})

test('on a GPU as many texts are written at once as the step has room for, or half of what is left, on a CPU one', () => {
  assert.equal(planMemory(needs, 'Auto', 4, 64 * 2 ** 30).textsAtOnce, 1)
  assert.equal(planMemory(onGpu, 'None', 4, totalOf(memoryItems(onGpu, 'None'))).textsAtOnce, 8)
  const full = memoryItems(onGpu, 'Full')
  const { cache } = textNeedsOf(onGpu, full)
  const [total, within] = [totalOf(full), planMemory(onGpu, 'Full', 4, totalOf(full)).textsAtOnce]
  assert.deepEqual(
    [0, within - 0.1, within, 100].map((texts) => planMemory(onGpu, 'Full', 4, total + 2 * texts * cache).textsAtOnce),
    [within, within, within + 1, 8],
  )
})

test('texts beyond the room of a step are planned, up to the keys and values of one of full length', () => {
  const texts = { cache: 64 * 1024, tokens: 1024, pass: 5000, step: 5000 + 1.5 * 64 * 1024 + 8 * 32 * 64 }
  const beyond = [0, 1, 1000, 10 ** 9].map((less) => textsBeyondStep({ ...texts, step: texts.step - less }))
  assert.deepEqual(beyond, [0, 1, 1000, 64 * 1024])
  const within = [-1, 0, 1.5 * 64 * 1024].map((more) => textsWithinStep({ ...texts, step: texts.step + more }))
  assert.deepEqual(within, [0, 1, 2])
  assert.deepEqual(textPass(4096), { tokens: 264, documents: 8, labels: 8, longest: 4096 })
  assert.equal(textPass(96).tokens, 96)
})

test('memory that runs out in spite of the plan is told with the plan and with what takes less', () => {
  const full = Object.assign(new Error('cannot allocate 64 bytes on the GPU: 8 of 9 are free'), {
    code: 'OUT_OF_MEMORY',
  })
  const training = { microBatchSize: 4, gradientAccumulation: 2, maxSequenceLength: 1024 }
  const plan = planMemory(onGpu, 'Full', 2, 7.5 * 2 ** 30)
  const told = beyondPlan(full, plan, training)
  assert.ok(told instanceof JobFailure && told.reason === 'DeviceOutOfMemory')
  assert.match(
    told.message,
    /^cannot allocate 64 bytes on the GPU: 8 of 9 are free; planned were \d+ MiB of 7680 MiB \(baseWeights .*\); training\.microBatchSize is 4: microBatchSize 2 with gradientAccumulation 4 trains/,
  )
  const onCpu = planMemory(needs, 'Full', 2, available(totals.Full!))
  assert.match((beyondPlan(full, onCpu, training) as Error).message, /training\.maxSequenceLength is 1024: a shorter/)
  const other = new Error('no memory of it')
  assert.equal(beyondPlan(other, plan, training), other)
})

test('moments in 8 bits, and a base whose files are in 4 bits already, are planned as they are held', () => {
  const items = memoryItems(needs, 'Full')
  const in8 = memoryItems({ ...needs, lora: { ...needs.lora, optimizer: 'AdamW8bit' } }, 'Full')
  assert.equal(in8.optimizer, (items.optimizer / 4) * (1 + 4 / 256))
  const parts = { file: '', offset: 0, bytes: 0 }
  const nf4 = { blockSize: 64, map: parts, absmax: parts }
  const skipped = 'model.layers.0.mlp.down_proj.weight'
  const saved = needs.tensors.map((tensor) =>
    tensor.name.endsWith('_proj.weight') && tensor.name !== skipped ? { ...tensor, nf4 } : tensor,
  )
  const values = architecture.hiddenSize * architecture.intermediateSize
  const as16 = 2 * values - (values / 2 + values / 64 + (4 * values) / 64 / 256)
  assert.equal(memoryItems({ ...needs, tensors: saved }, 'Full').baseWeights, items.baseWeights + as16)
})
