/**
 * One QLoRA step of SmolLM2-135M's shape, its products in f32, against this machine's own matrix-product peak: oneDNN's f32 sgemm on large
 * matrices.
 *
 * The two sides take turns, and each keeps its best round: other work on the machine only ever slows a round down. Floating-point
 * operations are counted as the mathematics needs them: 4 N per token (every frozen weight forward and in the gradient of its input, the
 * tied head included, the lowest layer's q, k, v forward only), 6 per LoRA parameter and token, and the causal half of attention's two
 * products forward and four backward. What is made again in the backward pass does not count.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type Architecture, engineInfo } from '../../../trainer-image/native/index.ts'
import { randomDocument } from '../../parity/random-model.ts'
import type { Row } from '../report.ts'
import { isShort } from '../settings.ts'
import { openFolder } from './model-folder.ts'
import { fullyLabelled, lora, qloraStep } from './qlora-step.ts'

const sequences = 4
const sequenceTokens = 256
const rounds = isShort ? 1 : 5
const peakShapes = [
  [1024, 2048, 2048],
  [4096, 2048, 2048],
] as const

/** Floating-point operations of one step over `tokens` tokens in documents of `length`, all labelled. */
function stepOperations(a: Architecture, rank: number, tokens: number, length: number): number {
  const q = a.heads * a.headSize
  const kv = a.keyValueHeads * a.headSize
  const qkv = a.hiddenSize * (q + 2 * kv)
  const layer = qkv + q * a.hiddenSize + 3 * a.hiddenSize * a.intermediateSize
  const head = a.vocabularySize * a.hiddenSize
  const loraParameters =
    rank * (2 * (a.hiddenSize + q) + 2 * (a.hiddenSize + kv) + 3 * (a.hiddenSize + a.intermediateSize)) * a.layers
  const frozen = 4 * (a.layers * layer + head) - 2 * qkv
  const attention = a.layers * 6 * 2 * q * ((length + 1) / 2)
  return tokens * (frozen + 6 * loraParameters + attention)
}

const peakProgram = fileURLToPath(new URL('../../../build/native/matmul_peak', import.meta.url))
const peakOf = (threads: number, shape: readonly number[]): number =>
  Number(execFileSync(peakProgram, [threads, ...shape].map(String), { encoding: 'utf8' }))

export const gemmShareWork = 'step-vs-gemm-peak'

/** The share of the peak that the whole step reaches. */
export async function gemmShare(folder: string, threads: number): Promise<Row> {
  const { instructionPath } = engineInfo() // the widest in f32, as the peak is
  const model = await openFolder(folder, 'NF4', threads, 'Selective', instructionPath)
  const { architecture } = model
  const config = lora(0.05)
  const adapter = await model.createAdapter(config)
  const batch = fullyLabelled(
    Array.from({ length: sequences }, (_, s) => randomDocument(sequenceTokens + 1, architecture.vocabularySize, s)),
  )

  const tokens = batch.tokens.length
  const operations = stepOperations(architecture, config.rank, tokens, sequenceTokens)
  const step = async (number: number): Promise<number> => {
    const start = performance.now()
    await qloraStep(model, adapter, batch, number)
    return (performance.now() - start) / 1000
  }

  let seconds = Number.POSITIVE_INFINITY
  const peaks = peakShapes.map(() => 0)
  await step(1) // touches the memory for the first time
  for (let round = 0; round < rounds; round++) {
    for (const [i, shape] of peakShapes.entries()) peaks[i] = Math.max(peaks[i]!, peakOf(threads, shape))
    seconds = Math.min(seconds, await step(2 + round))
  }
  const ours = operations / seconds / 1e9
  const theirs = Math.max(...peaks)
  model.close()
  console.log(
    `  step ${seconds.toFixed(3)} s, ${(tokens / seconds).toFixed(0)} tokens/s, ${ours.toFixed(1)} GFLOP/s; sgemm ${peaks.map((peak) => peak.toFixed(1)).join(' and ')} GFLOP/s`,
  )
  const peer = 'oneDNN f32 sgemm'
  return { work: gemmShareWork, peer, ratio: ours / theirs, unit: 'GFLOP/s', ours, theirs }
}
