import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Surroundings } from './build.ts'
import { collectFiles, type Files, requireSchemas } from './collect.ts'
import { type Collected, collectedOf, nothingCollected } from './collecting.ts'
import { usingDatabase } from './database.ts'
import { type EvaluationSet, readEvaluationSets } from './evaluation-sets.ts'
import type { LocatedSource } from './locate.ts'
import { readingOf } from './reading.ts'
import type { Settings } from './settings.ts'
import { restoreShard, writeShard } from './shard-file.ts'
import { writeSpool } from './spool.ts'
import type { Stages } from './stages.ts'
import type { WorkFolder } from './work-folder.ts'

/** Share of the memory setting. That of the near-duplicate index is in near-duplicates.ts; the rest is for the process itself. */
export const DATABASE_SHARE = 0.2

/** A shard has at least so many bytes of files, so that what is written beside its texts is little. */
const SHARD_BYTES = 256 * 2 ** 20

/** Whole files in their order, as few as have `least` bytes together; the last shard may have fewer. */
export function shardsOf(sizes: readonly number[], least: number): Files[] {
  const shards: Files[] = []
  let from = 0
  let bytes = 0
  for (const [number, size] of sizes.entries()) {
    bytes += size
    if (bytes < least && number + 1 < sizes.length) continue
    shards.push({ from, to: number + 1 })
    from = number + 1
    bytes = 0
  }
  return shards
}

/** Of each shard's folder: what the report says of the evaluation sets. */
const evaluationFile = 'evaluation-sets.json'

/**
 * Reads and cleans all sources, in shards: a stage each, whose folder has the texts' spool and what else is known of them. Shards that an
 * earlier attempt finished are not read again.
 */
export async function collectTexts(
  settings: Settings,
  located: readonly LocatedSource[],
  sets: readonly LocatedSource[],
  stages: Stages,
  work: WorkFolder,
  { threads, shardBytes = SHARD_BYTES, signal, report }: Surroundings,
): Promise<{ collected: Collected; folders: readonly string[]; evaluationSets: readonly EvaluationSet[] }> {
  const readingAt = await readingOf(located)
  const opened = { threads, memoryBytes: settings.memoryBytes * DATABASE_SHARE }
  const { cleaning, deduplication, split } = settings
  const rules = { cleaning, exact: deduplication.exact, seed: split.seed }
  const watch = {
    signal,
    onRows: (index: number, rows: number, file: number, share: number): void => {
      const { done, ...bytes } = readingAt(index, rows, file, share)
      report({ stage: 'Cleaning', source: located[index]?.name ?? '', rows, percent: 20 + 40 * done, ...bytes })
    },
  }
  const files = located.flatMap(({ texts }) => texts)
  const sizes = await Promise.all(files.map(async ({ path }) => (await stat(path)).size))
  const collecting = nothingCollected(located, rules)
  const reading = join(work.attempt, 'reading')
  await mkdir(reading)
  return usingDatabase(reading, opened, async (sources) => {
    const connection = await sources.connect()
    await requireSchemas(connection, located)
    let evaluation: ReturnType<typeof readEvaluationSets> | undefined
    const folders: string[] = []
    for (const [number, shard] of shardsOf(sizes, shardBytes).entries()) {
      const before = collecting.sameAs.length
      let isNew = false
      const sealed = await stages.once(`texts-${number}`, async (folder) => {
        isNew = true
        evaluation ??= readEvaluationSets(connection, sets, settings, signal)
        const held = await evaluation
        await writeFile(join(folder, evaluationFile), JSON.stringify(held?.sets ?? []))
        const shardRules = { ...rules, evaluation: held?.texts }
        await writeSpool(folder, (spool) =>
          collectFiles(connection, located, shard, shardRules, collecting, spool, watch),
        )
        await writeShard(folder, collecting, before)
      })
      if (!isNew) await restoreShard(sealed, collecting)
      folders.push(sealed)
    }
    const held = await readFile(join(folders[0] as string, evaluationFile), 'utf8')
    const evaluationSets = JSON.parse(held) as readonly EvaluationSet[]
    return { collected: await collectedOf(collecting), folders, evaluationSets }
  })
}
