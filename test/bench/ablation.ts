/**
 * What each part of the trainer's way is worth: the same ragged texts, from the naive way to the whole, each row one change on the row
 * above. Tokens of text (padding is none) per second of processor time, on one thread, so that other work on the machine counts for less;
 * bench.json gets the rows. settings.ts says what can be chosen.
 *
 * "Every token's logits" is made by labelling every token, so that the head and its gradient run over all of them; the engine has no way
 * that holds all logits at once, which would take another 4 bytes × 49,152 a token.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ActivationCheckpointing, type Batch, engineInfo } from '../../trainer-image/native/index.ts'
import { batchOf } from '../../trainer-image/train/batches.ts'
import type { Example } from '../../trainer-image/train/example.ts'
import { packBins, singleBins } from '../../trainer-image/train/packing.ts'
import { writeBase } from './base.ts'
import { type Base, openFolder } from './engine/model-folder.ts'
import { lora, qloraStep } from './engine/qlora-step.ts'
import { baseInClaim } from './engine/trainer-run.ts'
import { writeProse } from './prose.ts'
import { chosen, isShort, pairs } from './settings.ts'

const capacity = 512
const sequencesPerStep = 4

/** One way to train on the texts. */
interface Way {
  readonly padding: 'maximum' | 'longest' | 'none'
  readonly packing: boolean
  readonly allLogits: boolean
  readonly dropout: number
  readonly policy: ActivationCheckpointing
  readonly base: Base
}

const naive: Way = {
  padding: 'maximum',
  packing: false,
  allLogits: true,
  dropout: 0.05,
  policy: 'Full',
  base: 'NF4',
}
const changes: readonly (readonly [string, Partial<Way>])[] = [
  ['naive: padded to the maximum, every token’s logits, all made again', {}],
  ['padded to the longest of four', { padding: 'longest' }],
  ['not padded', { padding: 'none' }],
  ['packed', { packing: true }],
  ['logits only where a label is', { allLogits: false }],
  ['norms and SwiGLU made again (Selective)', { policy: 'Selective' }],
  ['nothing made again (None)', { policy: 'None' }],
  ['without dropout', { dropout: 0 }],
  ['base in bf16 instead of NF4', { base: 'None' }],
]
let way = naive
const ways = changes.map(([work, change]) => {
  way = { ...way, ...change }
  return { works: [work] as const, way }
})

interface Measured {
  readonly work: string
  readonly tokensPerSecond: number
  readonly peakMiB: number
}

/** Products in float32 throughout. */
const { instructionPath } = engineInfo()

const claim = mkdtempSync(join(tmpdir(), 'humanizer-ablation-'))
try {
  await writeBase(join(claim, baseInClaim))
  const examples = (await writeProse(claim, isShort ? 1 : 4)).examples.filter(({ tokens }) => tokens.length <= capacity)
  const tokens = examples.reduce((sum, { tokens }) => sum + tokens.length, 0)

  console.log(`${cpus()[0]!.model}, one thread, ${instructionPath}; ${tokens} tokens of text\n`)
  const measured: Measured[] = []
  for (const { works, way } of chosen(ways)) {
    const work = works[0]
    const { seconds, peakBytes } = await train(way, examples)
    const row = { work, tokensPerSecond: tokens / seconds, peakMiB: peakBytes / 2 ** 20 }
    measured.push(row)
    console.log(
      `${work.padEnd(72)} ${row.tokensPerSecond.toFixed(0).padStart(5)} tokens/s ${row.peakMiB.toFixed(0).padStart(6)} MiB`,
    )
  }
  writeFileSync('bench.json', `${JSON.stringify(measured, null, 2)}\n`)
} finally {
  rmSync(claim, { recursive: true, force: true })
}

/** The best of `pairs` epochs, in seconds of the processor; the engine's own peak. */
async function train(way: Way, examples: readonly Example[]): Promise<{ seconds: number; peakBytes: number }> {
  const model = await openFolder(join(claim, baseInClaim), way.base, 1, way.policy, instructionPath)
  const adapter = await model.createAdapter(lora(way.dropout))
  const batches = batchesOf(way, examples)
  let step = 0
  let seconds = Number.POSITIVE_INFINITY
  for (let epoch = 0; epoch < pairs; epoch++) {
    const before = process.cpuUsage()
    for (const batch of batches) await qloraStep(model, adapter, batch, ++step)
    seconds = Math.min(seconds, process.cpuUsage(before).user / 1e6)
  }
  const { peakBytes } = model.memory()
  model.close()
  return { seconds, peakBytes }
}

function batchesOf({ padding, packing, allLogits }: Way, examples: readonly Example[]): Batch[] {
  const lengths = examples.map(({ tokens }) => tokens.length)
  const bins = packing ? packBins(lengths, capacity, 42) : singleBins(examples.length)
  const batches: Batch[] = []
  for (let first = 0; first < bins.length; first += sequencesPerStep) {
    const step = bins.slice(first, first + sequencesPerStep)
    const longest = Math.max(...step.flat().map((i) => lengths[i]!))
    const width = { maximum: capacity, longest, none: 0 }[padding]
    batches.push(
      batchOf(
        examples.map((example) => padded(example, width)),
        step,
        0,
      ),
    )
  }
  return allLogits ? batches.map(labelled) : batches
}

function padded(example: Example, width: number): Example {
  if (example.tokens.length >= width) return example
  const tokens = new Int32Array(width)
  tokens.set(example.tokens)
  const labels = new Int32Array(width).fill(-100)
  labels.set(example.labels)
  return { ...example, tokens, labels }
}

/** Which label a token has costs the same. */
function labelled(batch: Batch): Batch {
  return { ...batch, labels: batch.labels.map((label) => Math.max(label, 0)) }
}
