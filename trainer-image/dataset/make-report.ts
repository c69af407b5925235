import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cardOf } from './card.ts'
import { clustersToShow } from './clusters.ts'
import { excerptOf } from './collect.ts'
import { type Collected, EXAMPLES_PER_RULE, type Example } from './collecting.ts'
import type { CopyBaseline } from './copy-baseline.ts'
import type { Deduplicated } from './duplicates.ts'
import type { EvaluationSet } from './evaluation-sets.ts'
import type { LocatedSource } from './locate.ts'
import { digestOfRows } from './publish.ts'
import { type Report, reportOf } from './report.ts'
import { htmlOf } from './report-html.ts'
import { markdownOf } from './report-markdown.ts'
import { Drawn } from './sampled.ts'
import type { Settings } from './settings.ts'
import type { Spool } from './spool.ts'

/** What was seen of the evaluation sets, and of the rows while they were written. */
export interface Written {
  readonly evaluationSets: readonly EvaluationSet[]
  readonly copyBaselines: readonly CopyBaseline[]
  /** How many machine-written texts were set aside for the evaluation. */
  readonly machineTexts: number
  /** By source: how many texts of each length were kept. */
  readonly lengths: readonly (readonly number[])[]
}

/** Writes report.json, report.md, report.html and the card beside the finished rows. */
export async function makeReport(
  settings: Settings,
  located: readonly LocatedSource[],
  { counts, examples, mojibake, sourceOf, lengths }: Collected,
  deduplicated: Deduplicated,
  written: Written,
  spool: Spool,
  output: string,
): Promise<Report> {
  const nearCopies = await exampleCopies(settings, located, sourceOf, deduplicated, spool)
  const report = reportOf(settings, located, await digestOfRows(output), {
    counts,
    mojibake,
    lengths: located.map(({ name }, i) => ({ name, human: lengths[i] ?? [], kept: written.lengths[i] ?? [] })),
    largestClusters: await clustersToShow(deduplicated, spool),
    examples: [...examples, ...nearCopies],
    copyBaselines: written.copyBaselines,
    evaluationSets: written.evaluationSets,
    machineTexts: written.machineTexts,
  })
  await writeFile(join(output, 'report.json'), `${JSON.stringify(report, null, 2)}\n`)
  await writeFile(join(output, 'report.md'), markdownOf(report))
  await writeFile(join(output, 'report.html'), htmlOf(report))
  await writeFile(join(output, 'README.md'), cardOf(report))
  return report
}

/** Near copies that were removed, of each source a few. */
async function exampleCopies(
  { split }: Settings,
  located: readonly LocatedSource[],
  sourceOf: Uint32Array,
  { kept, leader }: Deduplicated,
  spool: Spool,
): Promise<Example[]> {
  const drawn = new Drawn<number>(split.seed, EXAMPLES_PER_RULE)
  for (let ordinal = 0; ordinal < kept.length; ordinal++)
    if (!kept[ordinal]) drawn.offer(located[sourceOf[ordinal] as number]?.name ?? '', String(ordinal), () => ordinal)
  const texts = await spool.pick(drawn.all.flatMap((ordinal) => [ordinal, leader[ordinal] as number]))
  return drawn.all.map((ordinal) => ({
    id: texts.get(ordinal)?.id ?? '',
    rule: 'nearDuplicates',
    excerpt: excerptOf(texts.get(ordinal)?.text ?? ''),
    duplicateOf: texts.get(leader[ordinal] as number)?.id ?? '',
  }))
}
