/** train-step.ts FOLDER NF4|None SEQUENCES LENGTH DROPOUT THREADS: one optimizer step a round, every token labelled. */
import { randomDocument } from '../../parity/random-model.ts'
import { answerRounds } from '../answering.ts'
import { type Base, openFolder } from './model-folder.ts'
import { fullyLabelled, lora, qloraStep } from './qlora-step.ts'

const [folder = '', base = 'NF4', ...numbers] = process.argv.slice(2)
const [sequences = 4, length = 256, dropout = 0.05, threads = 2] = numbers.map(Number)
const model = await openFolder(folder, base as Base, threads)
const adapter = await model.createAdapter(lora(dropout))
let step = 0
await answerRounds(async () => {
  step += 1
  const documents = Array.from({ length: sequences }, (_, s) =>
    randomDocument(length + 1, model.architecture.vocabularySize, step * sequences + s),
  )
  await qloraStep(model, adapter, fullyLabelled(documents), step)
})
model.close()
