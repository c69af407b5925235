/**
 * One QLoRA step of SmolLM2-135M's shape against this machine's own matrix-product peak: oneDNN's on large matrices, f32 beside f32 and, where
 * the processor multiplies bf16, bf16 beside bf16.
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
const peakOf = (threads: number, shape: readonly number[], factors: Factors): number =>
  Number(
    execFileSync(peakProgram, [threads, ...shape, ...(factors === 'bf16' ? [factors] : [])].map(String), {
      encoding: 'utf8',
    }),
  )

export type Factors = 'f32' | 'bf16'
export const gemmShareWork = 'step-vs-gemm-peak'
export const gemmShareWorks: Readonly<Record<Factors, string>> = {
  f32: gemmShareWork,
  bf16: `${gemmShareWork} in bf16`,
}

/** The share of the peak that the whole step reaches. */
export async function gemmShare(folder: string, threads: number, factors: Factors): Promise<Row> {
  const path = factors === 'bf16' ? 'avx512_bf16' : engineInfo().instructionPath // the widest in f32
  const model = await openFolder(folder, 'NF4', threads, 'Selective', path)
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
    for (const [i, shape] of peakShapes.entries()) peaks[i] = Math.max(peaks[i]!, peakOf(threads, shape, factors))
    seconds = Math.min(seconds, await step(2 + round))
  }
  const ours = operations / seconds / 1e9
  const theirs = Math.max(...peaks)
  model.close()
  console.log(
    `  step ${seconds.toFixed(3)} s, ${(tokens / seconds).toFixed(0)} tokens/s, ${ours.toFixed(1)} GFLOP/s; oneDNN ${peaks.map((peak) => peak.toFixed(1)).join(' and ')} GFLOP/s`,
  )
  const peer = `oneDNN, ${factors}`
  return { work: gemmShareWorks[factors], peer, ratio: ours / theirs, unit: 'GFLOP/s', ours, theirs }
}
