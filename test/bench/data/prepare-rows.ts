/** The whole preparation, at a quarter of the documents and at all of them. */
import { join } from 'node:path'
import { Contender } from '../contender.ts'
import type { Bench, Row } from '../report.ts'
import { documents } from '../settings.ts'
import { corpus } from './dedup-rows.ts'
import { withinLimit } from './limit.ts'

const speedWork = 'scaling-prepare-speed'
const memoryWork = 'scaling-prepare-memory'

export function preparation(claim: string): Bench {
  const run = async (count: number): Promise<{ seconds: number; peak: number }> => {
    const args = [join(import.meta.dirname, 'prepare.ts'), await corpus(claim, count), join(claim, 'prepared')]
    await using ours = new Contender(process.execPath, args)
    return { seconds: await ours.round(), peak: await ours.peakBytes() }
  }
  const measure = async (): Promise<Row[]> => {
    const few = Math.ceil(documents / 4)
    const [small, large] = [await run(few), await run(documents)]
    const [ours, theirs] = [documents / large.seconds, few / small.seconds]
    return [
      { work: speedWork, peer: `${few} documents`, ratio: ours / theirs, unit: 'documents/s', ours, theirs },
      withinLimit(memoryWork, large.peak),
    ]
  }
  return { works: [speedWork, memoryWork], measure }
}
