/**
 * One QLoRA step of SmolLM2-135M's shape against this machine's own matrix-product peak: oneDNN's f32 sgemm on large matrices.
 *
 * The two sides take turns, and each keeps its best round: other work on the machine only ever slows a round down. Floating-point
 * operations are counted as the mathematics needs them: 4 N per token (every frozen weight forward and in the gradient of its input, the
 * tied head included, the lowest layer's q, k, v forward only), 6 per LoRA parameter and token, and the causal half of attention's two
 * products forward and four backward. What is made again in the backward pass does not count.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { type Architecture, engineInfo, loadModel } from '../../trainer-image/native/index.ts'
import { allLinear, pack, randomDocument, randomWeights } from '../parity/random-model.ts'

const architecture: Architecture = {
  family: 'llama',
  hiddenSize: 576,
  intermediateSize: 1536,
  layers: 30,
  heads: 9,
  keyValueHeads: 3,
  headSize: 64,
  vocabularySize: 49152,
  rmsNormEpsilon: 1e-5,
  ropeTheta: 100000,
  tiedEmbeddings: true,
  maxPositions: 8192,
  qkvBias: false,
  outputBias: false,
}
const lora = { rank: 32, alpha: 16, dropout: 0.05, targetModules: allLinear, rankStabilized: false, seed: 42 }
const sequences = 4
const sequenceTokens = 256
const rounds = 5
/** Share of the peak below which this fails. */
const leastShare = 0.6
const threads = availableParallelism()
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

const peakProgram = fileURLToPath(new URL('../../build/native/matmul_peak', import.meta.url))
const peakOf = (shape: readonly number[]): number =>
  Number(execFileSync(peakProgram, [threads, ...shape].map(String), { encoding: 'utf8' }))

const { tensors, dispose } = randomWeights(architecture)
const model = await loadModel(architecture, tensors, {
  quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true },
  threads,
})
dispose()
const adapter = await model.createAdapter(lora)
const batch = pack(
  // One token more, cut off again: the last position too has a next token, so all are labelled.
  Array.from({ length: sequences }, (_, s) => [randomDocument(sequenceTokens, architecture.vocabularySize, s)]),
)
batch.labels.forEach((label, i) => {
  if (label < 0) batch.labels[i] = i
})

const tokens = batch.tokens.length
const operations = stepOperations(architecture, lora.rank, tokens, sequenceTokens)
const step = async (number: number): Promise<number> => {
  const start = performance.now()
  const { labelTokens } = await model.accumulate(adapter, batch, number)
  await model.optimizerStep(adapter, {
    step: number,
    learningRate: 1e-4,
    gradientScale: 1 / labelTokens,
    maxGradientNorm: 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
  })
  return (performance.now() - start) / 1000
}

let seconds = Number.POSITIVE_INFINITY
const peaks = peakShapes.map(() => 0)
await step(1) // touches the memory for the first time
for (let round = 0; round < rounds; round++) {
  for (const [i, shape] of peakShapes.entries()) peaks[i] = Math.max(peaks[i]!, peakOf(shape))
  seconds = Math.min(seconds, await step(2 + round))
}
const ours = operations / seconds / 1e9
const theirs = Math.max(...peaks)
const share = ours / theirs
const { instructionPath, oneDnnVersion } = engineInfo()
console.log(`QLoRA step, SmolLM2-135M's shape: NF4, rank 32 on 7 targets, dropout 0.05, ${sequences} × ${sequenceTokens} tokens, all labelled
${threads} threads, ${instructionPath}, oneDNN ${oneDnnVersion}; best of ${rounds} rounds, taken in turns\n`)
console.table([
  { what: 'step', seconds: seconds.toFixed(3), 'tokens/s': (tokens / seconds).toFixed(0), 'GFLOP/s': ours.toFixed(1) },
  ...peakShapes.map((shape, i) => ({ what: `sgemm ${shape.join('×')}`, 'GFLOP/s': peaks[i]!.toFixed(1) })),
  { what: 'share of the peak', 'GFLOP/s': share.toFixed(3) },
])
console.log(`memory: ${(model.memory().peakBytes / 2 ** 20).toFixed(0)} MiB at the peak`)
model.close()
writeFileSync(
  'bench.json',
  `${JSON.stringify([{ work: 'step-vs-gemm-peak', peer: 'oneDNN f32 peak', ratio: share, unit: 'GFLOP/s', ours, theirs }], null, 2)}\n`,
)
if (share < leastShare) {
  console.error(`The step reaches ${(100 * share).toFixed(1)} % of the peak; expected at least ${100 * leastShare} %.`)
  process.exitCode = 1
}
