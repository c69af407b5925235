/**
 * Writes docs/gpu-performance.md: what a training step of Llama 3.2 3B costs at the limits of three cards, and what we
 * expect to reach of them. Nothing in it is measured.
 */
import { writeFileSync } from 'node:fs'
import { expectedTensors, linearModules } from '../../trainer-image/model/llama.ts'
import { type MemoryNeeds, memoryItems, offloadedBytes, totalOf } from '../../trainer-image/train/memory-items.ts'
import { graphBytes, stepOperations } from '../../trainer-image/train/step-graphs.ts'
import { nameOf, type Setting, settings, llama3B as shape3B } from '../gpu/benchmark.ts'
import { computeParameters, type Kind, llama3B, type Step, stepWork, type Work } from './step-work.ts'

interface Card {
  readonly name: string
  /** Dense bf16 operations a second with f32 sums, and bytes a second: the vendor's data sheets. */
  readonly flops: number
  readonly bandwidth: number
  /** 32-bit integer operations a second: multiprocessors × 64 lanes × boost clock. */
  readonly integers: number
  /** The share of the limit that we expect of each kind. */
  readonly expected: Readonly<Record<Kind, number>>
}

const cards: readonly Card[] = [
  {
    name: 'A100 80 GB SXM',
    flops: 312e12,
    bandwidth: 2.039e12,
    integers: 108 * 64 * 1.41e9,
    expected: { products: 0.75, attention: 0.45, thin: 0.6, memory: 0.8, mask: 0.6 },
  },
  {
    name: 'H100 SXM',
    flops: 989e12,
    bandwidth: 3.35e12,
    integers: 132 * 64 * 1.755e9,
    expected: { products: 0.65, attention: 0.25, thin: 0.5, memory: 0.75, mask: 0.6 },
  },
  {
    name: 'RTX 4090',
    flops: 165e12,
    bandwidth: 1.008e12,
    integers: 128 * 64 * 2.52e9,
    expected: { products: 0.85, attention: 0.55, thin: 0.6, memory: 0.85, mask: 0.6 },
  },
]

const limit = (work: Work, card: Card): number =>
  Math.max(work.flops / card.flops, work.bytes / card.bandwidth, work.integers / card.integers)

const expectation = (work: Work, card: Card): number => limit(work, card) / card.expected[work.kind]

const total = (step: Step, card: Card, time: (work: Work, card: Card) => number): number =>
  stepWork(llama3B, step).reduce((seconds, work) => seconds + time(work, card), 0)

const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

const thousands = (value: number): string => Math.round(value).toLocaleString('en')
const milliseconds = (seconds: number): string => (seconds * 1e3).toFixed(1)

const offloading = settings.find(({ activationCheckpointing: policy }) => policy === 'Offload')!

const base: Step = { tokens: 4096, document: 1024, rank: 32, recompute: 'None' }
const steps: readonly { readonly name: string; readonly step: Step }[] = [
  { name: '4 × 1024, no recomputation', step: base },
  { name: '4 × 1024, full recomputation', step: { ...base, recompute: 'Full' } },
  { name: '4 × 2048, no recomputation', step: { ...base, tokens: 8192, document: 2048 } },
  {
    name: '2 × 4096, full recomputation, offloaded or not',
    step: { ...base, tokens: 8192, document: 4096, recompute: 'Full' },
  },
]

function operations(step: Step): string {
  return table(
    [
      'operation',
      'TFLOP',
      'GB',
      ...cards.flatMap(({ name }) => [`${name}: limit, ms`, 'expected share', 'expected, ms']),
    ],
    stepWork(llama3B, step).map((work) => [
      work.name,
      (work.flops / 1e12).toFixed(2),
      (work.bytes / 1e9).toFixed(2),
      ...cards.flatMap((card) => [
        milliseconds(limit(work, card)),
        `${Math.round(card.expected[work.kind] * 100)} %`,
        milliseconds(expectation(work, card)),
      ]),
    ]),
  )
}

function throughput(): string {
  const useful = 4 * computeParameters(llama3B)
  return table(
    ['step', 'card', 'tokens/s at the limit', 'tokens/s expected', '4N share of the peak, expected'],
    steps.flatMap(({ name, step }) =>
      cards.map((card) => {
        const expected = step.tokens / total(step, card, expectation)
        return [
          name,
          card.name,
          thousands(step.tokens / total(step, card, limit)),
          thousands(expected),
          `${((100 * expected * useful) / card.flops).toFixed(0)} %`,
        ]
      }),
    ),
  )
}

/** Of 3B as the plan of a run on a GPU has it, at a setting of full sequences whose every token has a label. */
function needsOf({ sequences, length, optimizer }: Setting): MemoryNeeds {
  return {
    architecture: shape3B,
    tensors: [...expectedTensors(shape3B)].map(([name, shape]) => ({
      name,
      shape,
      bytes: 2 * shape.reduce((values, size) => values * size, 1),
    })),
    quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true },
    lora: { rank: 32, dropout: 0.05, targetModules: linearModules(shape3B), optimizer },
    threads: 1,
    bf16Products: false,
    lengths: {
      longestSequence: length,
      longestDocument: length,
      shortestDocument: length,
      mostDocuments: 1,
      mostLabels: length,
    },
    microBatchSize: sequences,
    maxSequenceLength: length,
    heldByNode: 0,
    activationBytes: 2,
  }
}

const mebibytes = (bytes: number): string => thousands(bytes / 2 ** 20)

function memory(): string {
  return table(
    [
      'step',
      'base',
      'adapter, gradients',
      'moments',
      'activations',
      'head',
      'scratch',
      'texts',
      'all',
      'goal',
      "the host's",
      'operations',
      'one graph',
      'four',
    ],
    settings.map((setting) => {
      const items = memoryItems(needsOf(setting), setting.activationCheckpointing)
      const { baseWeights, adapter, gradients, optimizer, activations, logits, scratch, generation } = items
      const figures = [baseWeights, adapter + gradients, optimizer, activations, logits, scratch, generation]
      const step = [needsOf(setting), setting.activationCheckpointing] as const
      return [
        nameOf(setting),
        ...[...figures, stepMemory(setting)].map(mebibytes),
        setting.goal?.gib === undefined ? '' : mebibytes(setting.goal.gib * 2 ** 30),
        mebibytes(offloadedBytes(...step)),
        thousands(stepOperations(...step)),
        mebibytes(graphBytes(...step, 1)),
        mebibytes(graphBytes(...step)),
      ]
    }),
  )
}

/** What one graph makes of the settings whose memory has a goal. */
const goals = (): string =>
  settings
    .filter(({ goal }) => goal?.gib !== undefined)
    .map((setting) => {
      const withOne = stepMemory(setting) + graphBytes(needsOf(setting), setting.activationCheckpointing, 1)
      const goal = setting.goal!.gib! * 2 ** 30
      return `${nameOf(setting)} takes ${mebibytes(withOne)} MiB, ${withOne > goal ? 'more than' : 'within'} the goal of ${mebibytes(goal)}`
    })
    .join(';\n')

/** Planned bytes, of a step and of texts that are written between two. */
export const stepMemory = (setting: Setting): number =>
  totalOf(memoryItems(needsOf(setting), setting.activationCheckpointing))

export const page = (): string => `# GPU performance: the roofline

Written by \`node test/cuda/roofline.ts\`. **Nothing on this page was measured**: no GPU was at hand. Operations and bytes are
counted by hand after what the kernels read and write (\`test/cuda/step-work.ts\`); limits are the cards' data sheets; the expected shares are
assumptions, and the first run on a card replaces them.

## A step of Llama 3.2 3B: 4 × 1024 tokens in documents of 1024, rank 32, dropout 0.05, nothing recomputed

${operations(base)}

An operation's limit is the largest of its tensor-core time, its memory time and, for the mask, its integer time. Operations are
added up as if none overlapped another.

## Tokens a second

${throughput()}

4N counts forward and the gradient of the inputs once, N = ${(computeParameters(llama3B) / 1e9).toFixed(3)} billion weights with the head; neither recomputation nor LoRA nor attention
counts as useful.

## Memory

MiB of the device, **computed**: the plan that a run makes before it begins (\`trainer-image/train/memory-items.ts\`), which the emulated device holds
against what the engine takes. With the 32 MiB in which cuBLASLt works; without the driver's context. Texts: keys and values of what is written between two
steps, where they find no room in the memory that a step has for its activations, head and scratch.

${memory()}

Head is what the logits and the rows of the last norm take beyond the scratch of the layers, over which they lie. Under Offload the layers' inputs, but two,
wait in the host's memory: at 2 × 4096 ${mebibytes(offloadedBytes(needsOf(offloading), 'Offload'))} MiB a pass each way, ${milliseconds(offloadedBytes(needsOf(offloading), 'Offload') / 50e9)} ms at the 50 GB/s that we expect of PCIe 5 and ${milliseconds(offloadedBytes(needsOf(offloading), 'Offload') / 25e9)} at the
25 of PCIe 4, beside forward and backward, of which each is several times as long. The table above takes Offload's time for Full's.

A step that runs again as a CUDA graph has memory of the device beside all that. How much NVIDIA does not say: 64 KiB an operation were seen with driver 470
and are **assumed** here; operations are counted in the code, at most ([ADR 16](adr/0016-steps-as-graphs-and-tiles.md)). The engine keeps up to four graphs, of
which full packed sequences need one. A run makes them only where its plan leaves room for four; elsewhere, and on a card of just the goals' sizes, its steps run
as they come. With one graph:
${goals()}.
The engine's own account, by which \`make gpu\` tells the peak, has no graphs in it; the GPU's has.

## The peers

| who | card | step | tokens/s | where from |
| --- | --- | --- | --- | --- |
| Unsloth, NF4 | H100 | 2 × 2048, rank 16, dropout 0 | 14,400 | computed: its published 11,500 for Qwen3 4B, scaled by N |
| Surogate, bf16 LoRA | H100 | the same | 19,900 | computed: its published 15,900 for Qwen3 4B, scaled by N |
| torchtune, QLoRA | A100 | 2 × 4096, full recomputation | 8,035 | its README |
| NeMo AutoModel, bf16 LoRA | H100 | Llama 3 8B, 2 × 4096 | 31,300 | computed: its published 12,473, scaled by N |

## Assumptions

- The kernels' own times add up to the step's: it waits for the host once, at its end.
- Large products: cuBLASLt without split-K reductions, as cublaslt.cc calls it.
- Attention: mma.sync with 64 rows a block. The H100's own instructions (wgmma) are not used, hence the low share there. Backward counts the
  two products that it makes twice.
- LoRA's thin products and the norms read their inputs from memory each time; what the cache keeps between neighbours is not counted.
- A mask value costs 14 integer operations at 64 lanes a cycle and multiprocessor, beside the product that reads it, not overlapped with it. It is drawn
  forward, and its bits wait for backward; under Full and Offload backward draws it once more.
- Every weight is dequantised into memory and read back by the product, in each direction. That happens on a stream of its own, beside what runs
  before the product ([ADR 16](adr/0016-steps-as-graphs-and-tiles.md)): what a product bound by the tensor cores leaves of the memory's bandwidth. The
  table adds the time up as if it did not overlap.
- Full recomputation makes all layers but the last again, without the product of down, and the logits, a block at a time.
- Not counted: launches (asked for ahead of the device; one for a step that runs again as a CUDA graph), the embedding, copies, bias.
- Whether a step fits the card is not asked here: without recomputation 4 × 2048 takes what the RTX 4090 has not free.
`

if (import.meta.main) writeFileSync(new URL('../../docs/gpu-performance.md', import.meta.url), page())
