/**
 * trainer.ts CLAIM DATASET_DIGEST: a run of the trainer over the dataset a round. Its seconds are those of the optimizer steps, by the
 * trainer's own account.
 */
import { answerRounds } from '../answering.ts'
import { trainerRun } from './trainer-run.ts'

const [claim = '', digest = ''] = process.argv.slice(2)
const everything = 1_000_000 // one line, at the last step, for all of them

await answerRounds(async () => {
  const lines = await trainerRun(claim, digest, { gradientAccumulation: 1, checkpointEvery: 0, logEvery: everything })
  const { promptTokens, labelTokens } = lines.find(({ msg }) => msg === 'planned')!
  const { tokensPerSecond } = lines.find(({ msg }) => msg === 'step')!
  return (promptTokens! + labelTokens!) / tokensPerSecond!
})
