import type { DataCounts } from '#proto/humanizer/trainer/v1/preparation.ts'
import type { Example } from './collect.ts'
import type { CopyBaseline } from './copy-baseline.ts'
import { keptOf, type Removal, removals, sumCounts } from './funnel.ts'
import type { LocatedSource } from './locate.ts'
import type { Settings } from './settings.ts'

/** Everything that report.json and report.md say. */
export interface Report {
  readonly version: 1
  readonly specHash: string
  readonly summary: string
  readonly counts: DataCounts
  readonly sources: readonly SourceReport[]
  readonly largestClusters: readonly LargestCluster[]
  readonly examples: readonly Example[]
  /** Per kind of sample, what copying the input would score. */
  readonly copyBaselines: readonly CopyBaseline[]
  readonly warnings: readonly string[]
  readonly rules: Pick<Settings, 'cleaning' | 'deduplication' | 'split' | 'format'>
}

export interface SourceReport {
  readonly name: string
  readonly revision: string
  readonly license: string
  readonly licenseEvidence: string
  readonly textColumn: string
  /** Which rows count as human-written; empty means all. */
  readonly human: readonly string[]
  readonly files: number
  readonly counts: DataCounts
}

export interface LargestCluster {
  /** Of the text that was kept. */
  readonly id: string
  /** Texts of the cluster, the kept one and all copies included. */
  readonly size: number
  readonly excerpt: string
}

/** Shares from which on a person should look again. */
const MOSTLY_REMOVED = 0.8
const MOSTLY_DUPLICATES = 0.5
const FEW_EXAMPLES = 200

export function reportOf(
  settings: Settings,
  sources: readonly LocatedSource[],
  counts: readonly DataCounts[],
  largestClusters: readonly LargestCluster[],
  examples: readonly Example[],
  copyBaselines: readonly CopyBaseline[],
  mojibake: readonly number[],
): Report {
  const all = sumCounts(counts)
  return {
    version: 1,
    specHash: settings.specHash,
    summary: summaryOf(all, sources.length),
    counts: all,
    sources: sources.map((source, i) => ({
      name: source.name,
      revision: source.revision,
      license: source.license.expression,
      licenseEvidence: source.license.evidence,
      textColumn: source.textColumn,
      human: source.human.map(({ column, values }) => `${column} in ${values.join(', ')}`),
      files: source.texts.length,
      counts: counts[i] as DataCounts,
    })),
    largestClusters,
    examples,
    copyBaselines,
    warnings: warningsOf(settings, sources, counts, all, mojibake),
    rules: {
      cleaning: settings.cleaning,
      deduplication: settings.deduplication,
      split: settings.split,
      format: settings.format,
    },
  }
}

function summaryOf(counts: DataCounts, sources: number): string {
  const cleaned = counts.tooShort + counts.tooLong + counts.tooFewWords
  const duplicates = counts.exactDuplicates + counts.nearDuplicates
  return (
    `${keptOf(counts)} of ${counts.read} rows from ${sources} source${sources === 1 ? '' : 's'} were kept ` +
    `(${counts.train} train, ${counts.validation} validation). Removed: ${counts.notHuman} not human-written, ` +
    `${cleaned} by length, ${duplicates} duplicates (${counts.exactDuplicates} exact, ${counts.nearDuplicates} near; ${counts.crossSourceDuplicates} of them copies of another source's text).`
  )
}

function warningsOf(
  { format, split, licensePolicy }: Settings,
  sources: readonly LocatedSource[],
  counts: readonly DataCounts[],
  all: DataCounts,
  mojibake: readonly number[],
): string[] {
  const warnings: string[] = []
  if (format.sample === 'Identity')
    warnings.push(
      'Sample Identity asks for the very text that the prompt holds, so copying is its optimum. Denoise has to write.',
    )
  if (all.validation === 0)
    warnings.push(
      `Validation is empty (trainPercent ${split.trainPercent}, ${all.train} texts): no loss can be measured on held-out text.`,
    )
  if (all.train < FEW_EXAMPLES)
    warnings.push(`Only ${all.train} texts to train on; below ${FEW_EXAMPLES} a style is hardly learnt.`)
  sources.forEach((source, i) => {
    const of = counts[i] as DataCounts
    const human = of.read - of.notHuman
    const duplicates = of.exactDuplicates + of.nearDuplicates
    if (human > 0 && keptOf(of) / human < 1 - MOSTLY_REMOVED)
      warnings.push(`Source ${source.name}: ${percent(keptOf(of), human)} of its human-written rows were kept.`)
    if (human > 0 && duplicates / human > MOSTLY_DUPLICATES)
      warnings.push(`Source ${source.name}: ${percent(duplicates, human)} of its human-written rows are duplicates.`)
    const garbled = mojibake[i] ?? 0
    if (garbled > 0)
      warnings.push(
        `Source ${source.name}: ${garbled} texts look like UTF-8 that was read in another encoding ("Ã©" for "é"). They were kept as they are.`,
      )
    if (source.license.expression === '')
      warnings.push(
        `Source ${source.name}: no licence is declared${licensePolicy.requireDeclared ? '' : ', and licensePolicy does not require one'}.`,
      )
    for (const remark of [...source.remarks, ...source.cautions]) warnings.push(`Source ${source.name}: ${remark}`)
  })
  return warnings
}

const names: Readonly<Record<Removal, string>> = {
  notHuman: 'not human-written',
  tooShort: 'too short',
  tooLong: 'too long',
  tooFewWords: 'too few words',
  exactDuplicates: 'exact duplicates',
  nearDuplicates: 'near duplicates',
}

/** The report for people, as Markdown. */
export function markdownOf(report: Report): string {
  const { counts, rules } = report
  const bars = removals.map((rule) => bar(names[rule], counts[rule], counts.read))
  const { cleaning, deduplication, split, format } = rules
  const lines = [
    '# Dataset report',
    '',
    report.summary,
    '',
    '```',
    bar('read', counts.read, counts.read),
    ...bars,
    bar('train', counts.train, counts.read),
    bar('validation', counts.validation, counts.read),
    '```',
    ...section(
      'Warnings',
      report.warnings.map((warning) => `- ${plain(warning)}`),
    ),
    ...section('Funnel', [
      row(['source', 'read', ...removals.map((rule) => names[rule]), 'train', 'validation']),
      `|---|${'---:|'.repeat(removals.length + 3)}`,
      ...report.sources.map(({ name, counts: of }) =>
        row([name, of.read, ...removals.map((rule) => of[rule]), of.train, of.validation]),
      ),
    ]),
    ...section('Sources and licences', [
      row(['source', 'revision', 'licence', 'declared by', 'text column', 'human-written rows', 'files']),
      '|---|---|---|---|---|---|---:|',
      ...report.sources.map((source) =>
        row([
          source.name,
          source.revision || '–',
          source.license || 'undeclared',
          source.licenseEvidence,
          source.textColumn,
          source.human.join(' and ') || 'all',
          source.files,
        ]),
      ),
    ]),
    ...section(
      'What copying the input would score',
      report.copyBaselines.map(
        ({ kind, examples: of, wordF1 }) =>
          `- ${kind}, ${of} examples: ${(100 * wordF1).toFixed(1)} % of the words (F1)`,
      ),
    ),
    ...section(
      'Largest duplicate clusters',
      report.largestClusters.map(({ id, size, excerpt }) => `- ${size} × ${id}: ${plain(excerpt)}`),
    ),
    ...section(
      'Examples of what was removed',
      report.examples.map(
        ({ id, rule, excerpt, duplicateOf }) =>
          `- ${names[rule]}, ${id}${duplicateOf ? ` (kept: ${duplicateOf})` : ''}: ${plain(excerpt) || '(empty)'}`,
      ),
    ),
    ...section('Rules', [
      `- ${cleaning.minCharacters} to ${cleaning.maxCharacters} characters, at least ${cleaning.minWords} words; URLs ${cleaning.removeUrls ? 'removed' : 'kept'}, e-mail addresses ${cleaning.removeEmails ? 'removed' : 'kept'}`,
      `- exact duplicates ${deduplication.exact ? 'removed' : 'kept'}; near duplicates ${deduplication.nearThreshold > 0 ? `removed above Jaccard ${deduplication.nearThreshold} on ${deduplication.shingleWords}-word shingles` : 'kept'}`,
      `- ${split.trainPercent} % train, by cluster, seed ${split.seed}; sample ${format.sample}`,
    ]),
  ]
  return `${lines.join('\n')}\n`
}

const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : ['', `## ${title}`, '', ...lines]
const row = (cells: readonly (string | number)[]): string =>
  `| ${cells.map((cell) => plain(String(cell))).join(' | ')} |`
/** Text that Markdown shows as it is. */
const plain = (text: string): string => text.replace(/[\\|`<>*_[\]]/g, '\\$&')
const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`

function bar(name: string, count: number, of: number): string {
  const width = of === 0 ? 0 : Math.ceil((40 * count) / of)
  return `${name.padEnd(18)} ${'█'.repeat(width).padEnd(40)} ${count}`
}
