/** train-step.ts FOLDER NF4|None SEQUENCES LENGTH DROPOUT THREADS: one optimizer step a round, every token labelled. */
import { allLinear, randomDocument } from '../../parity/random-model.ts'
import { answerRounds } from '../answering.ts'
import { openFolder } from './model-folder.ts'

const [folder = '', base = 'NF4', ...numbers] = process.argv.slice(2)
const [sequences = 4, length = 256, dropout = 0.05, threads = 2] = numbers.map(Number)
const model = await openFolder(folder, base as 'NF4' | 'None', threads)
const adapter = await model.createAdapter({
  rank: 32,
  alpha: 16,
  dropout,
  targetModules: allLinear,
  rankStabilized: false,
  seed: 42,
})
const offsets = Int32Array.from({ length: sequences + 1 }, (_, s) => s * length)
let step = 0
await answerRounds(async () => {
  step += 1
  // Every position has a next token: a document is one longer and its last token is only a label.
  const documents = Array.from({ length: sequences }, (_, s) =>
    randomDocument(length + 1, model.architecture.vocabularySize, step * sequences + s),
  )
  const { labelTokens } = await model.accumulate(
    adapter,
    {
      tokens: Int32Array.from(documents.flatMap((document) => document.slice(0, -1))),
      labels: Int32Array.from(documents.flatMap((document) => document.slice(1))),
      documents: offsets,
      sequences: offsets,
      sequenceOrdinals: Int32Array.from({ length: sequences }, (_, s) => s),
    },
    step,
  )
  await model.optimizerStep(adapter, {
    step,
    learningRate: 1e-4,
    gradientScale: 1 / labelTokens,
    maxGradientNorm: 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0.01,
  })
})
model.close()
