/**
 * What sealing checkpoints costs a run of the trainer: training waits for each. The row is the throughput of a run that seals one after
 * every step of the default size, sixteen sequences of 1,024 tokens, against one that seals none; the default is one in 500 steps.
 */
import type { Row } from '../report.ts'
import { trainerRun } from './trainer-run.ts'

export const saveStallWork = 'save-stall'

const defaultStepTokens = 16 * 1024
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

export async function saveStall(claim: string, datasetDigest: string): Promise<Row> {
  const lines = await trainerRun(claim, datasetDigest, { gradientAccumulation: 1, checkpointEvery: 1, logEvery: 1 })
  const steps = lines.filter(({ msg }) => msg === 'step')
  const stalls = steps.map(({ step, time }) => {
    const sealed = lines.find((line) => line.msg === 'checkpoint' && line.step === step)!
    return (sealed.time - time) / 1000
  })
  const stall = median(stalls)
  const theirs = median(steps.map(({ tokensPerSecond }) => tokensPerSecond!))
  const ours = defaultStepTokens / (defaultStepTokens / theirs + stall)
  console.log(`  ${stalls.length} checkpoints, ${stalls.map((seconds) => seconds.toFixed(3)).join(', ')} s each`)
  return { work: saveStallWork, peer: 'the same without', ratio: ours / theirs, unit: 'tokens/s', ours, theirs }
}
