/** Near duplicates beside the peers, and by themselves at four times the size. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Contender, inTurns } from '../contender.ts'
import { hasModule, python } from '../python.ts'
import type { Bench, Row } from '../report.ts'
import { documents, pairs } from '../settings.ts'
import { writeDocuments } from './corpus.ts'
import { judge } from './judge.ts'
import { withinLimit } from './limit.ts'

const here = (path: string): string => join(import.meta.dirname, path)

/** A folder of documents beside `claim`, made once. */
export async function corpus(claim: string, count: number): Promise<string> {
  const folder = join(claim, `documents-${count}`)
  if (made.has(folder)) return folder
  await writeDocuments(folder, count)
  writeFileSync(`${folder}.count`, String(count))
  made.add(folder)
  return folder
}
const made = new Set<string>()

function printJudgement(who: string, result: string): void {
  const bytes = readFileSync(result)
  const { pairs, recall, removed, precision } = judge(
    new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / Uint32Array.BYTES_PER_ELEMENT),
  )
  console.log(
    `  ${who}: recall ${recall.toFixed(5)} of ${pairs} planted pairs above 0.85, precision ${precision.toFixed(5)} of ${removed} removed`,
  )
}

export function dedupBesidePeers(claim: string, threads: number): Bench[] {
  const peers = [
    { work: 'dedup-vs-text-dedup', name: 'text-dedup 0.4.1 MinHash', program: 'text_dedup' },
    { work: 'dedup-vs-datatrove', name: 'datatrove 0.10.1 MinHash', program: 'datatrove' },
  ]
  return peers.map(({ work, name, program }): Bench => {
    const measure = async (): Promise<Row[]> => {
      if (!hasModule('requirements-data.txt', program)) {
        console.log(`${work}: not measured, ${name} is not there: its Python is older than 3.12`)
        return []
      }
      const folder = await corpus(claim, documents)
      const [mineIn, theirsIn] = [join(claim, 'ours.clusters'), join(claim, 'theirs.clusters')]
      await using mine = new Contender(process.execPath, [here('dedup.ts'), folder, mineIn, String(threads)])
      await using theirs = new Contender(python('requirements-data.txt'), [
        here(`../peer/${program}_minhash.py`),
        folder,
        theirsIn,
        String(threads),
      ])
      const { ours, theirs: seconds, ratio } = await inTurns(mine, theirs, pairs, 0)
      printJudgement('ours', mineIn)
      printJudgement(name, theirsIn)
      return [{ work, peer: name, ratio, unit: 'documents/s', ours: documents / ours, theirs: documents / seconds }]
    }
    return { works: [work], measure }
  })
}

const speedWork = 'scaling-dedup-speed'
const memoryWork = 'scaling-dedup-memory'
const residentWork = 'scaling-dedup-bytes'

/** The search alone, of both sizes with and without a limit of memory that makes it spill; the same clusters must come out. */
export function dedupScaling(claim: string, threads: number): Bench {
  const search = async (
    count: number,
    limit?: number,
  ): Promise<{ seconds: number; peak: number; clusters: Buffer }> => {
    const result = join(claim, 'scaling.clusters')
    const work = join(claim, 'spill')
    mkdirSync(work, { recursive: true })
    const args = [here('dedup.ts'), await corpus(claim, count), result, String(threads)]
    await using ours = new Contender(process.execPath, limit === undefined ? args : [...args, String(limit), work])
    const seconds = await ours.round()
    return { seconds, peak: await ours.peakBytes(), clusters: readFileSync(result) }
  }
  const measure = async (): Promise<Row[]> => {
    const [inMemory, largeInMemory] = [await search(documents), await search(4 * documents)]
    // What a document more takes, not the process itself. Of a few thousand documents it is lost in the noise: then a byte each.
    const grown = Math.max((largeInMemory.peak - inMemory.peak) / (3 * documents), 1)
    const limit = 0.5 * grown * documents
    const spilled = await search(documents, limit)
    if (!spilled.clusters.equals(inMemory.clusters)) throw new Error('the clusters of the spilled search differ')
    const large = await search(4 * documents, limit)
    if (!large.clusters.equals(largeInMemory.clusters))
      throw new Error('the clusters of four times the documents differ')
    const slower = large.seconds / spilled.seconds
    return [
      {
        work: speedWork,
        peer: `${documents} documents`,
        ratio: 4 / slower,
        unit: 'documents/s',
        ours: (4 * documents) / large.seconds,
        theirs: documents / spilled.seconds,
      },
      withinLimit(memoryWork, large.peak),
      {
        work: residentWork,
        peer: 'the limit of 1.5 kB',
        ratio: 1500 / grown,
        unit: 'bytes',
        ours: grown,
        theirs: 1500,
      },
    ]
  }
  return { works: [speedWork, memoryWork, residentWork], measure }
}
