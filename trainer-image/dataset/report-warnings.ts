import type { DataCounts } from '#proto/humanizer/trainer/v1/preparation.ts'
import type { CopyBaseline } from './copy-baseline.ts'
import type { EvaluationSet } from './evaluation-sets.ts'
import { keptOf } from './funnel.ts'
import type { LocatedSource } from './locate.ts'
import type { Settings } from './settings.ts'

/** Shares from which on a person should look again. */
const MOSTLY_REMOVED = 0.8
const MOSTLY_DUPLICATES = 0.5
const ONE_SOURCE = 0.9
const HARDLY_CHANGED = 0.95
const CONTAMINATED = 0.01
const FEW_EXAMPLES = 200
const FEW_HELD_OUT = 20

/** What a reviewer should see before approving. Lists are by source. */
export function warningsOf(
  settings: Settings,
  sources: readonly LocatedSource[],
  counts: readonly DataCounts[],
  all: DataCounts,
  mojibake: readonly number[],
  copyBaselines: readonly CopyBaseline[],
  evaluationSets: readonly EvaluationSet[],
): string[] {
  return [
    ...ofTheWhole(settings, all, copyBaselines),
    ...ofEvaluation(all, evaluationSets),
    ...sources.flatMap((source, i) => ofSource(settings, source, counts[i] as DataCounts, all, mojibake[i] ?? 0)),
  ]
}

function ofTheWhole(
  { format, split, deduplication }: Settings,
  all: DataCounts,
  copyBaselines: readonly CopyBaseline[],
): string[] {
  const warnings: string[] = []
  if (format.sample === 'Identity')
    warnings.push(
      'Sample Identity asks for the very text that the prompt holds, so copying is its optimum. Denoise has to write.',
    )
  else if ((copyBaselines.find(({ kind }) => kind === format.sample)?.wordF1 ?? 0) > HARDLY_CHANGED)
    warnings.push(`Sample ${format.sample}: input and text differ so little that copying scores above 95 %.`)
  if (all.validation === 0)
    warnings.push(
      `Validation is empty (trainPercent ${split.trainPercent}, ${all.train} texts): no loss can be measured on held-out text.`,
    )
  else if (all.validation < FEW_HELD_OUT)
    warnings.push(
      `Only ${all.validation} texts to validate on; below ${FEW_HELD_OUT} the loss on held-out text hardly tells anything.`,
    )
  if (all.train < FEW_EXAMPLES)
    warnings.push(`Only ${all.train} texts to train on; below ${FEW_EXAMPLES} a style is hardly learnt.`)
  if (deduplication.nearThreshold === 0)
    warnings.push(
      'Near duplicates were not looked for (deduplication.nearThreshold 0): copies may weigh on training and stand on both sides of the split.',
    )
  return warnings
}

function ofEvaluation(all: DataCounts, sets: readonly EvaluationSet[]): string[] {
  const fitting = all.read - all.notHuman - all.tooShort - all.tooLong - all.tooFewWords - all.otherLanguage
  const short = sets.reduce((sum, { tooShort }) => sum + tooShort, 0)
  return [
    ...(all.contaminated > fitting * CONTAMINATED
      ? [`${percent(all.contaminated, fitting)} of the texts that passed cleaning share text with an evaluation set.`]
      : []),
    ...(short > 0 ? [`${short} evaluation texts have fewer than 8 words and were not looked for.`] : []),
  ]
}

function ofSource(
  { licensePolicy }: Settings,
  { name, license, remarks, cautions, limit }: LocatedSource,
  counts: DataCounts,
  all: DataCounts,
  mojibake: number,
): string[] {
  const warnings: string[] = []
  const human = counts.read - counts.notHuman
  const duplicates = counts.exactDuplicates + counts.nearDuplicates
  if (human > 0 && keptOf(counts) / human < 1 - MOSTLY_REMOVED)
    warnings.push(`${percent(keptOf(counts), human)} of its human-written rows were kept.`)
  if (human > 0 && duplicates / human > MOSTLY_DUPLICATES)
    warnings.push(`${percent(duplicates, human)} of its human-written rows are duplicates.`)
  if (counts.read < all.read && keptOf(counts) / Math.max(keptOf(all), 1) > ONE_SOURCE)
    warnings.push(`${percent(keptOf(counts), keptOf(all))} of all that was kept is from it: the others hardly count.`)
  if (counts.read === limit) warnings.push(`only its first ${limit} rows were read (sources[].limit).`)
  if (mojibake > 0)
    warnings.push(
      `${mojibake} texts look like UTF-8 that was read in another encoding ("Ã©" for "é"). They were kept as they are.`,
    )
  if (license.expression === '')
    warnings.push(
      `no licence is declared${licensePolicy.requireDeclared ? '' : ', and licensePolicy does not require one'}.`,
    )
  return [...warnings, ...remarks, ...cautions].map((warning) => `Source ${name}: ${warning}`)
}

const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`
