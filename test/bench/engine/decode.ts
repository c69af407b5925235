/** decode.ts FOLDER NF4|None REQUESTS PROMPT_TOKENS NEW_TOKENS THREADS: greedy answers to several requests at once, a round. */
import { argmax, randomDocument } from '../../parity/random-model.ts'
import { answerRounds } from '../answering.ts'
import { type Base, openFolder } from './model-folder.ts'

const [folder = '', base = 'NF4', ...numbers] = process.argv.slice(2)
const [requests = 1, prompt = 32, fresh = 64, threads = 2] = numbers.map(Number)
const model = await openFolder(folder, base as Base, threads)

await answerRounds(async () => {
  let turns = Array.from({ length: requests }, (_, i) => ({
    sequence: model.openSequence(undefined, prompt + fresh, prompt),
    tokens: Int32Array.from(randomDocument(prompt, model.architecture.vocabularySize, i)),
  }))
  for (let n = 0; n < fresh; n++) {
    const logits = await model.forward(turns)
    turns = turns.map(({ sequence }, i) => ({ sequence, tokens: Int32Array.of(argmax(logits[i]!)) }))
  }
  for (const { sequence } of turns) sequence.close()
})
model.close()
