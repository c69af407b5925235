import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { DataCounts, PreparationProgress, PreparationResult } from '#proto/humanizer/trainer/v1/preparation.ts'
import { JobFailure } from '../job/failure.ts'
import { nearDuplicateIndex } from '../native/dedup.ts'
import { canonicalJson } from '../storage/digest.ts'
import type { OwnerRecord } from '../storage/owners.ts'
import { type Collected, collect, excerptOf } from './collect.ts'
import { type Database, databaseFailure, openDatabase } from './database.ts'
import { corrupt } from './denoise.ts'
import { type Deduplicated, dropNearDuplicates } from './duplicates.ts'
import { sentenceOf, sumCounts } from './funnel.ts'
import { type LocatedSource, locate } from './locate.ts'
import { type Example, exampleWriter } from './output.ts'
import { publish } from './publish.ts'
import { markdownOf, type Report, reportOf } from './report.ts'
import type { Settings } from './settings.ts'
import { requireLicense } from './source.ts'
import { validationClusters } from './split.ts'
import { openSpool, type Spool } from './spool.ts'
import type { WorkFolder } from './work-folder.ts'

export interface Surroundings {
  readonly dataDir: string
  readonly hubEndpoint: string
  /** Recorded beside the dataset; absent for a local run. */
  readonly owner?: OwnerRecord | undefined
  readonly signal: AbortSignal
  readonly log: Logger
  readonly report: (progress: PreparationProgress) => void
}

/** From sources to a sealed folder. Everything written before the seal lies in the work folder. */
export async function buildDataset(
  settings: Settings,
  work: WorkFolder,
  around: Surroundings,
): Promise<PreparationResult> {
  const located = await locateAll(settings, work, around)
  const database = await openDatabase(work.attempt, availableParallelism())
  try {
    const spool = await openSpool(database)
    const { collected, deduplicated } = await deduplicate(settings, located, database, spool, around)
    const counts = sumCounts(collected.counts)
    if (!deduplicated.kept.includes(true))
      throw new JobFailure('NothingFits', `no text is left to train on: ${sentenceOf(counts)}`)

    const output = join(work.attempt, 'output')
    await mkdir(output)
    await writeExamples(settings, located, collected, deduplicated, database, spool, output, around)
    const report = await makeReport(settings, located, collected, deduplicated, spool)
    await writeDescriptions(settings, report, output)
    const { digest, location } = await publish(output, around.dataDir, around.owner)
    around.log.info({ digest, location }, report.summary)
    return {
      digest,
      location,
      specHash: settings.specHash,
      counts: report.counts,
      sources: report.sources.map(({ name, revision, license, counts: of }) => ({
        name,
        revision,
        license,
        counts: of,
      })),
      summary: report.summary,
    }
  } catch (error) {
    throw databaseFailure(error, `the database in ${work.attempt}`, 'StorageFailed')
  } finally {
    database.close()
  }
}

async function locateAll(settings: Settings, work: WorkFolder, around: Surroundings): Promise<LocatedSource[]> {
  const located: LocatedSource[] = []
  for (const source of settings.sources) {
    around.signal.throwIfAborted()
    around.report({ stage: 'Reading', source: source.name, rows: 0, percent: 0 })
    const downloads = {
      folder: work.downloads,
      hubEndpoint: around.hubEndpoint,
      signal: around.signal,
      onBytes: (bytes: number, total: number | undefined) =>
        around.report({ stage: 'Reading', source: source.name, rows: 0, percent: total ? (20 * bytes) / total : 0 }),
    }
    located.push(
      await locate(source, downloads, (license) => requireLicense(source.name, license, settings.licensePolicy)),
    )
  }
  return located
}

async function deduplicate(
  settings: Settings,
  located: readonly LocatedSource[],
  database: Database,
  spool: Spool,
  around: Surroundings,
): Promise<{ collected: Collected; deduplicated: Deduplicated }> {
  const { exact, nearThreshold, shingleWords } = settings.deduplication
  const near =
    nearThreshold > 0
      ? nearDuplicateIndex({ threshold: nearThreshold, shingleWords, threads: availableParallelism() })
      : undefined
  const collected = await collect(
    await database.connect(),
    located,
    { cleaning: settings.cleaning, exact },
    spool,
    near,
    {
      signal: around.signal,
      onRows: (index, rows) =>
        around.report({
          stage: 'Cleaning',
          source: located[index]?.name ?? '',
          rows,
          percent: 20 + (40 * index) / located.length,
        }),
    },
  )
  around.signal.throwIfAborted()
  const texts = collected.sourceOf.length
  around.report({ stage: 'Deduplicating', source: '', rows: texts, percent: 60 })
  const deduplicated = dropNearDuplicates(collected.sameAs, collected.copies, await near?.clusters())
  deduplicated.kept.forEach((kept, ordinal) => {
    const counts = collected.counts[collected.sourceOf[ordinal] ?? -1]
    if (!kept && counts) counts.nearDuplicates++
  })
  return { collected, deduplicated }
}

async function writeExamples(
  { split, format }: Settings,
  located: readonly LocatedSource[],
  { sourceOf, counts }: Collected,
  { kept, cluster }: Deduplicated,
  database: Database,
  spool: Spool,
  output: string,
  { signal, report }: Surroundings,
): Promise<void> {
  report({ stage: 'Splitting', source: '', rows: kept.length, percent: 70 })
  // Clusters are named by the id of their first text, which always stands before its members in the spool.
  const names: string[] = []
  for await (const texts of spool.read()) for (const { id } of texts) names.push(id)
  const clusterOf = (ordinal: number): string => names[cluster[ordinal] as number] as string
  const survivors = kept.flatMap((is, ordinal) => (is ? [clusterOf(ordinal)] : []))
  const validation = validationClusters(survivors, split)

  const writer = await exampleWriter(database)
  let ordinal = 0
  for await (const texts of spool.read()) {
    signal.throwIfAborted()
    const sides: Record<'train' | 'validation', Example[]> = { train: [], validation: [] }
    for (const { id, text } of texts) {
      const index = sourceOf[ordinal] as number
      if (kept[ordinal]) {
        const source = located[index] as LocatedSource
        const side = validation.has(clusterOf(ordinal)) ? 'validation' : 'train'
        ;(counts[index] as DataCounts)[side]++
        sides[side].push({
          id,
          source: source.name,
          revision: source.revision,
          license: source.license.expression,
          cluster: clusterOf(ordinal),
          kind: format.sample,
          input: format.sample === 'Denoise' ? corrupt(text, split.seed, id) : text,
          target: text,
        })
      }
      ordinal++
    }
    await writer.append('train', sides.train)
    await writer.append('validation', sides.validation)
    report({ stage: 'Writing', source: '', rows: ordinal, percent: 70 + (25 * ordinal) / kept.length })
  }
  await writer.finish(output)
}

async function makeReport(
  settings: Settings,
  located: readonly LocatedSource[],
  { counts, examples }: Collected,
  { kept, cluster, largest }: Deduplicated,
  spool: Spool,
): Promise<Report> {
  const shown = kept.flatMap((is, ordinal) => (is ? [] : [ordinal])).slice(0, 3)
  const wanted = [
    ...largest.map(({ ordinal }) => ordinal),
    ...shown,
    ...shown.map((ordinal) => cluster[ordinal] as number),
  ]
  const texts = await spool.pick(wanted)
  const idOf = (ordinal: number): string => texts.get(ordinal)?.id ?? ''
  const excerpt = (ordinal: number): string => excerptOf(texts.get(ordinal)?.text ?? '')
  return reportOf(
    settings,
    located,
    counts,
    largest.map(({ ordinal, size }) => ({ id: idOf(ordinal), size, excerpt: excerpt(ordinal) })),
    [
      ...examples,
      ...shown.map((ordinal) => ({
        id: idOf(ordinal),
        rule: 'nearDuplicates' as const,
        excerpt: excerpt(ordinal),
        duplicateOf: idOf(cluster[ordinal] as number),
      })),
    ],
  )
}

async function writeDescriptions({ format, split, specHash }: Settings, report: Report, output: string): Promise<void> {
  const { sample, systemPrompt, userTemplate, chatTemplate } = format
  const { trainPercent, seed } = split
  const description = {
    version: 1,
    format: { sample, systemPrompt, userTemplate, ...(chatTemplate && { chatTemplate }) },
    specHash,
    split: { trainPercent, seed },
  }
  await writeFile(join(output, 'dataset.json'), `${canonicalJson(description)}\n`)
  await writeFile(join(output, 'report.json'), `${JSON.stringify(report, null, 2)}\n`)
  await writeFile(join(output, 'report.md'), markdownOf(report))
}
