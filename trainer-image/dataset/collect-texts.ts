import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Surroundings } from './build.ts'
import { collectShard, requireSchemas, SOURCES_START, type SourcesPlace } from './collect.ts'
import { type Collected, collectedOf, nothingCollected } from './collecting.ts'
import { usingDatabase } from './database.ts'
import { type EvaluationSet, readEvaluationSets } from './evaluation-sets.ts'
import type { LocatedSource } from './locate.ts'
import { readingOf } from './reading.ts'
import type { Settings } from './settings.ts'
import { type Following, restoreShard, writeShard } from './shard-file.ts'
import { writeSpool } from './spool.ts'
import type { Stages } from './stages.ts'
import type { WorkFolder } from './work-folder.ts'

/** Share of the memory setting. That of the near-duplicate index is in near-duplicates.ts; the rest is for the process itself. */
export const DATABASE_SHARE = 0.2

/** A shard has at least so many bytes of files, so that what is written beside its texts is little; the last one has what is left. */
const SHARD_BYTES = 256 * 2 ** 20

/** By the place where it begins: after a damaged shard that was made again and ends elsewhere, no later one is taken for the next. */
const shardName = ({ file, within }: SourcesPlace): string => `texts-${file}-${within.row}`

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
  const { cleaning, deduplication, split, format } = settings
  const rules = { cleaning, exact: deduplication.exact, seed: split.seed, trainsOnPairs: format.sample === 'Paired' }
  const watch = {
    signal,
    onRows: (index: number, rows: number, file: number, share: number): void => {
      const { done, ...bytes } = readingAt(index, rows, file, share)
      report({ stage: 'Cleaning', source: located[index]?.name ?? '', rows, percent: 20 + 40 * done, ...bytes })
    },
  }
  const collecting = nothingCollected(located, rules)
  const reading = join(work.attempt, 'reading')
  await mkdir(reading)
  return usingDatabase(reading, opened, async (sources) => {
    const connection = await sources.connect()
    await requireSchemas(connection, located)
    let evaluation: ReturnType<typeof readEvaluationSets> | undefined
    const folders: string[] = []
    for (let from: SourcesPlace | undefined = SOURCES_START; from; ) {
      const before = collecting.sameAs.length
      const shard = { from, leastBytes: shardBytes }
      let made: Following | undefined
      const sealed = await stages.once(shardName(from), async (folder) => {
        evaluation ??= readEvaluationSets(connection, sets, settings, signal)
        const held = await evaluation
        await writeFile(join(folder, evaluationFile), JSON.stringify(held?.sets ?? []))
        const shardRules = { ...rules, evaluation: held?.texts }
        const next = await writeSpool(folder, (spool) =>
          collectShard(connection, located, shard, shardRules, collecting, spool, watch),
        )
        await writeShard(folder, collecting, { before, next })
        made = { next }
      })
      from = (made ?? (await restoreShard(sealed, collecting))).next
      folders.push(sealed)
    }
    const held = await readFile(join(folders[0] as string, evaluationFile), 'utf8')
    const evaluationSets = JSON.parse(held) as readonly EvaluationSet[]
    return { collected: await collectedOf(collecting), folders, evaluationSets }
  })
}
