/** decode.ts FOLDER NF4|None REQUESTS PROMPT_TOKENS NEW_TOKENS THREADS: greedy answers to several requests at once, a round. */
import { randomDocument } from '../../parity/random-model.ts'
import { answerRounds } from '../answering.ts'
import { type Base, openFolder } from './model-folder.ts'

const [folder = '', base = 'NF4', ...numbers] = process.argv.slice(2)
const [requests = 1, prompt = 32, fresh = 64, threads = 2] = numbers.map(Number)
const model = await openFolder(folder, base as Base, threads)

const choice = {
  temperature: 0,
  topP: 1,
  random: 0,
  alternatives: -1,
  tokens: new Int32Array(),
  penalties: new Float32Array(),
}

await answerRounds(async () => {
  let turns = Array.from({ length: requests }, (_, i) => ({
    sequence: model.openSequence(undefined, prompt + fresh, prompt),
    tokens: Int32Array.from(randomDocument(prompt, model.architecture.vocabularySize, i)),
  }))
  for (let n = 0; n < fresh; n++) {
    const sampled = await model.sample(turns.map((turn) => ({ ...turn, choice })))
    turns = turns.map(({ sequence }, i) => ({ sequence, tokens: Int32Array.of(sampled[i]!.id) }))
  }
  for (const { sequence } of turns) sequence.close()
})
model.close()
