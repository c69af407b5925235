import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { DataCounts, PreparationResult } from '#proto/humanizer/trainer/v1/preparation.ts'
import { JobFailure } from '../job/failure.ts'
import { canonicalJson } from '../storage/digest.ts'
import type { OwnerRecord } from '../storage/owners.ts'
import { SharedContent, sharedDownloads } from '../storage/shared-content.ts'
import { codePoints } from './characters.ts'
import { normalForm } from './cleaning.ts'
import { idOf } from './collect.ts'
import { collectTexts, DATABASE_SHARE } from './collect-texts.ts'
import type { Collected } from './collecting.ts'
import { CopyBaselines } from './copy-baseline.ts'
import { type Database, usingDatabase } from './database.ts'
import { corrupt } from './denoise.ts'
import type { Deduplicated } from './duplicates.ts'
import { FirstOfEqual } from './exact.ts'
import { keptOf, sentenceOf, sumCounts } from './funnel.ts'
import { binOf, noLengths } from './lengths.ts'
import { type LocatedSource, locate } from './locate.ts'
import { MachineTexts } from './machine-texts.ts'
import { makeReport, type Written } from './make-report.ts'
import { dropDuplicates, findClusters } from './near-duplicates.ts'
import { type Example, exampleWriter } from './output.ts'
import type { Progress } from './progress.ts'
import { publish } from './publish.ts'
import { isDrawn } from './sampled.ts'
import type { Settings } from './settings.ts'
import { requireLicense } from './source.ts'
import { validationOf } from './split.ts'
import { openSpool, type Spool } from './spool.ts'
import { openStages, stagesKey } from './stages.ts'
import type { WorkFolder } from './work-folder.ts'

export interface Surroundings {
  readonly dataDir: string
  readonly hubEndpoint: string
  readonly threads: number
  /** At least so much of the sources' files is read and cleaned between two points where a killed attempt can go on; SHARD_BYTES when undefined. */
  readonly shardBytes?: number | undefined
  /** Recorded beside the dataset; absent for a local run. */
  readonly owner?: OwnerRecord | undefined
  readonly signal: AbortSignal
  readonly log: Logger
  readonly report: (progress: Progress) => void
}

/**
 * From sources to a sealed folder, in stages: shards of the cleaned texts, the clusters of near duplicates, the rows. What an attempt finishes stays
 * for the next; everything else written before the seal lies in the attempt's folder.
 */
export async function buildDataset(
  settings: Settings,
  work: WorkFolder,
  around: Surroundings,
): Promise<PreparationResult> {
  const { located, sets } = await locateAll(settings, work, around)
  const stages = await openStages(work, await stagesKey(settings, [...located, ...sets], around.signal), around.log)
  const { collected, folders, evaluationSets } = await collectTexts(settings, located, sets, stages, work, around)
  const spool = openSpool(folders)
  const near = await stages.once('clusters', (folder) =>
    findClusters(settings, collected.sourceOf.length, spool, { folder, spill: work.attempt }, around),
  )
  const deduplicated = await dropDuplicates(settings, collected, near)
  if (!deduplicated.kept.includes(1))
    throw new JobFailure('NothingFits', `no text is left to train on: ${sentenceOf(sumCounts(collected.counts))}`)
  const output = join(work.attempt, 'output')
  await mkdir(output)
  const opened = { threads: around.threads, memoryBytes: settings.memoryBytes * DATABASE_SHARE }
  const written = await usingDatabase(work.attempt, opened, (rows) =>
    writeExamples(settings, located, collected, deduplicated, rows, spool, output, around),
  )
  await writeDescription(settings, output)
  const seen = { ...written, evaluationSets }
  const report = await makeReport(settings, located, collected, deduplicated, seen, spool, output)
  const { digest, location } = await publish(output, around.dataDir, around.owner)
  around.log.info({ digest, location }, report.summary)
  return {
    digest,
    location,
    specHash: settings.specHash,
    counts: report.counts,
    sources: report.sources.map(({ name, revision, license, counts: of }) => ({ name, revision, license, counts: of })),
    summary: report.summary,
  }
}

/** The sources and the evaluation sets; only of the sources does the licence matter. */
async function locateAll(
  settings: Settings,
  work: WorkFolder,
  around: Surroundings,
): Promise<{ located: readonly LocatedSource[]; sets: readonly LocatedSource[] }> {
  const { sources, decontamination, licensePolicy } = settings
  const wanted = [...sources, ...(decontamination?.sources ?? [])]
  const located: LocatedSource[] = []
  let before = 0
  for (const [index, source] of wanted.entries()) {
    around.signal.throwIfAborted()
    let bytes = 0
    const tell = (total = 0): void => {
      const done = (index + (total > 0 ? Math.min(bytes / total, 1) : 0)) / wanted.length
      const totalBytes = index + 1 < wanted.length || total === 0 ? 0 : before + total
      around.report({
        stage: 'Reading',
        source: source.name,
        rows: 0,
        percent: 20 * done,
        bytes: before + bytes,
        totalBytes,
      })
    }
    tell()
    const downloads = {
      folder: work.downloads,
      shared: new SharedContent(join(around.dataDir, sharedDownloads)),
      specHash: settings.specHash,
      hubEndpoint: around.hubEndpoint,
      signal: around.signal,
      onBytes: (held: number, total: number | undefined) => {
        bytes = held
        tell(total)
      },
    }
    located.push(
      await locate(source, downloads, (license) => {
        if (index < sources.length) requireLicense(source.name, license, licensePolicy)
      }),
    )
    before += bytes
  }
  return { located: located.slice(0, sources.length), sets: located.slice(sources.length) }
}

/** What a copy of the input would score is measured on about so many examples of the dataset's own kind, and on so many texts of each other kind. */
const COPIED = { own: 10_000, others: 500 }

async function writeExamples(
  { split, format, cleaning }: Settings,
  located: readonly LocatedSource[],
  { sourceOf, rowOf, counts, machineTexts }: Collected,
  { kept, cluster }: Deduplicated,
  database: Database,
  spool: Spool,
  output: string,
  { signal, report }: Surroundings,
): Promise<Omit<Written, 'evaluationSets'>> {
  report({ stage: 'Splitting', source: '', rows: kept.length, percent: 70 })
  /** Clusters are named by the id of their first text. */
  const clusterOf = (ordinal: number): string => {
    const first = cluster[ordinal] as number
    return idOf(located[sourceOf[first] as number] as LocatedSource, rowOf[first] as number)
  }
  const roots = new Set<number>()
  for (const [ordinal, is] of kept.entries()) if (is) roots.add(cluster[ordinal] as number)
  const inValidation = validationOf(Array.from(roots, clusterOf), split)

  const writer = await exampleWriter(database)
  const baselines = new CopyBaselines()
  const lengths = located.map(noLengths)
  // Of pairs that are trained on, what the other side of the split is given can still be set aside.
  const machine = new MachineTexts(split.seed, cleaning)
  for (const { id, source, text } of machineTexts) machine.offer(id, source, () => text)
  const trained = new FirstOfEqual()
  const all = counts.reduce((sum, of) => sum + keptOf(of), 0)
  let ordinal = 0
  for await (const texts of spool.read()) {
    signal.throwIfAborted()
    const sides: Record<'train' | 'validation', Example[]> = { train: [], validation: [] }
    for (const { id, text, input } of texts) {
      const index = sourceOf[ordinal] as number
      if (kept[ordinal]) {
        const source = located[index] as LocatedSource
        const side = inValidation(clusterOf(ordinal)) ? 'validation' : 'train'
        ;(counts[index] as DataCounts)[side]++
        const pair = pairOf(format.sample, id, text, input, split.seed)
        if (pair.kind === 'Paired' && side === 'train') trained.find(normalForm(input), ordinal)
        else if (pair.kind === 'Paired') machine.offer(id, source.name, () => input)
        if (isDrawn(split.seed, id, COPIED.own, all)) baselines.add(pair)
        if (isDrawn(split.seed, id, COPIED.others, all))
          for (const other of otherKinds(pair.kind, input)) baselines.add(pairOf(other, id, text, input, split.seed))
        ;(lengths[index] as number[])[binOf(codePoints(text))]! += 1
        sides[side].push({
          id,
          source: source.name,
          revision: source.revision,
          license: source.license.expression,
          cluster: clusterOf(ordinal),
          ...pair,
        })
      }
      ordinal++
    }
    await writer.append('train', sides.train)
    await writer.append('validation', sides.validation)
    report({ stage: 'Writing', source: '', rows: ordinal, percent: 70 + (25 * ordinal) / kept.length })
  }
  const aside = format.sample === 'Paired' ? await machine.sample(trained) : machineTexts
  await writer.finish(output, aside)
  return { copyBaselines: baselines.all, lengths, machineTexts: aside.length }
}

/** The kinds of sample that a text could be used for beside its own. */
const otherKinds = (own: Example['kind'], paired: string): readonly Example['kind'][] =>
  (['Identity', 'Denoise', 'Paired'] as const).filter((kind) => kind !== own && (kind !== 'Paired' || paired !== ''))

/** A row of a Paired dataset without a pair is a Denoise one. */
function pairOf(sample: Example['kind'], id: string, text: string, paired: string, seed: number) {
  const kind = sample === 'Paired' && paired === '' ? 'Denoise' : sample
  const inputs = { Identity: () => text, Denoise: () => corrupt(text, seed, id), Paired: () => paired }
  return { kind, input: inputs[kind](), target: text }
}

async function writeDescription({ format, split, specHash }: Settings, output: string): Promise<void> {
  const { sample, systemPrompt, userTemplate, chatTemplate } = format
  const { trainPercent, seed } = split
  const description = {
    version: 1,
    format: { sample, systemPrompt, userTemplate, ...(chatTemplate && { chatTemplate }) },
    specHash,
    split: { trainPercent, seed },
  }
  await writeFile(join(output, 'dataset.json'), `${canonicalJson(description)}\n`)
}
