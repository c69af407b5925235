import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { nearDuplicateIndex } from '../native/dedup.ts'
import type { Surroundings } from './build.ts'
import { normalForm } from './cleaning.ts'
import type { Collected } from './collecting.ts'
import { type Deduplicated, dropNearDuplicates } from './duplicates.ts'
import type { Settings } from './settings.ts'
import { readNumbers } from './shard-file.ts'
import type { Spool } from './spool.ts'
import { wordsApart } from './unspaced.ts'

/** Share of the memory setting that the index may take. */
const NEAR_SHARE = 0.4

const clustersFile = 'clusters.u32'

/** Writes for each of `all` texts the first one of its cluster; without a threshold nothing. */
export async function findClusters(
  { deduplication: { nearThreshold, shingleWords }, memoryBytes }: Settings,
  all: number,
  spool: Spool,
  { folder, spill }: { readonly folder: string; readonly spill: string },
  { threads, signal, report }: Pick<Surroundings, 'threads' | 'signal' | 'report'>,
): Promise<void> {
  if (nearThreshold === 0) return
  const near = nearDuplicateIndex({
    threshold: nearThreshold,
    shingleWords,
    threads,
    memory: { bytes: memoryBytes * NEAR_SHARE, folder: spill },
  })
  // The next texts are read while the index takes the ones before.
  let taken = Promise.resolve()
  let rows = 0
  for await (const texts of spool.read()) {
    signal.throwIfAborted()
    const normalForms = texts.map(({ text }) => wordsApart(normalForm(text)))
    await taken
    taken = near.add(normalForms)
    taken.catch(() => {}) // thrown by the next await
    rows += texts.length
    report({ stage: 'Deduplicating', source: '', rows, percent: 60 + (8 * rows) / all })
  }
  await taken
  await writeFile(join(folder, clustersFile), await near.clusters())
  signal.throwIfAborted()
}

/** What is kept; the counts of each source learn what is not. */
export async function dropDuplicates(
  { deduplication: { nearThreshold } }: Settings,
  { sameAs, groupOf, copies, counts, sourceOf }: Collected,
  clusters: string,
): Promise<Deduplicated> {
  const firsts = nearThreshold === 0 ? undefined : await readNumbers(join(clusters, clustersFile))
  const deduplicated = dropNearDuplicates(sameAs, groupOf, copies, firsts)
  for (const [ordinal, kept] of deduplicated.kept.entries()) {
    const own = counts[sourceOf[ordinal] as number]
    if (kept || !own) continue
    own.nearDuplicates++
    if (sourceOf[deduplicated.leader[ordinal] as number] !== sourceOf[ordinal]) own.crossSourceDuplicates++
  }
  return deduplicated
}
