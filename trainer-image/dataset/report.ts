import type { DataCounts } from '#proto/humanizer/trainer/v1/preparation.ts'
import type { ShownCluster } from './clusters.ts'
import type { Example } from './collecting.ts'
import type { CopyBaseline } from './copy-baseline.ts'
import type { EvaluationSet } from './evaluation-sets.ts'
import { keptOf, sumCounts } from './funnel.ts'
import type { Lengths } from './lengths.ts'
import type { LocatedSource } from './locate.ts'
import { warningsOf } from './report-warnings.ts'
import type { Settings } from './settings.ts'

/** Everything that report.json, report.md and report.html say. */
export interface Report {
  readonly version: 1
  /** namespace/name of the dataset; empty for a local run. */
  readonly dataset: string
  /** Of the rows. */
  readonly digest: string
  /** What a person types to approve that digest; empty when no object asked for it. */
  readonly approve: string
  readonly specHash: string
  readonly summary: string
  readonly counts: DataCounts
  readonly sources: readonly SourceReport[]
  readonly lengths: readonly Lengths[]
  readonly largestClusters: readonly ShownCluster[]
  readonly examples: readonly Example[]
  /** Per kind of sample, what copying the input would score. */
  readonly copyBaselines: readonly CopyBaseline[]
  /** What kept texts were compared with; empty: with nothing. */
  readonly evaluationSets: readonly EvaluationSet[]
  /** Machine-written texts that were set aside for the evaluation. */
  readonly machineTexts: number
  readonly warnings: readonly string[]
  readonly rules: Pick<Settings, 'cleaning' | 'deduplication' | 'split' | 'format'> & {
    /** Words of a run that no kept text shares with an evaluation text; 0: there are none. */
    readonly ngramWords: number
  }
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

/** What was seen while the rows went by; lists are by source. */
export interface Findings {
  readonly counts: readonly DataCounts[]
  readonly lengths: readonly Lengths[]
  readonly mojibake: readonly number[]
  readonly largestClusters: readonly ShownCluster[]
  readonly examples: readonly Example[]
  readonly copyBaselines: readonly CopyBaseline[]
  readonly evaluationSets: readonly EvaluationSet[]
  readonly machineTexts: number
}

export function reportOf(
  settings: Settings,
  sources: readonly LocatedSource[],
  digest: string,
  { counts, lengths, mojibake, largestClusters, examples, copyBaselines, evaluationSets, machineTexts }: Findings,
): Report {
  const all = sumCounts(counts)
  const { owner, cleaning, deduplication, split, format } = settings
  return {
    version: 1,
    dataset: owner ? `${owner.namespace}/${owner.name}` : '',
    digest,
    approve: owner ? approvalOf(owner, digest) : '',
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
    lengths,
    largestClusters,
    examples,
    copyBaselines,
    evaluationSets,
    machineTexts,
    warnings: warningsOf(settings, sources, counts, all, mojibake, copyBaselines, evaluationSets),
    rules: { cleaning, deduplication, split, format, ngramWords: settings.decontamination?.ngramWords ?? 0 },
  }
}

const approvalOf = ({ namespace, name }: { namespace: string; name: string }, digest: string): string =>
  `kubectl --namespace ${namespace} patch humanizerdataset ${name} --type merge --patch '${JSON.stringify({ spec: { review: { approvedDigest: digest } } })}'`

function summaryOf(counts: DataCounts, sources: number): string {
  const cleaned = counts.tooShort + counts.tooLong + counts.tooFewWords
  const duplicates = counts.exactDuplicates + counts.nearDuplicates
  return (
    `${keptOf(counts)} of ${counts.read} rows from ${sources} source${sources === 1 ? '' : 's'} were kept ` +
    `(${counts.train} train, ${counts.validation} validation). Removed: ${counts.notHuman} not human-written, ` +
    `${cleaned} by length, ${counts.otherLanguage > 0 ? `${counts.otherLanguage} of another language, ` : ''}${counts.contaminated > 0 ? `${counts.contaminated} shared with an evaluation set, ` : ''}${duplicates} duplicates (${counts.exactDuplicates} exact, ${counts.nearDuplicates} near; ${counts.crossSourceDuplicates} of them copies of another source's text).`
  )
}

/** The rules that the rows were judged by, one line each. */
export const rulesInWords = ({
  rules: { cleaning, deduplication, split, format, ngramWords },
}: Report): readonly string[] => [
  `${cleaning.minCharacters} to ${cleaning.maxCharacters} characters, at least ${cleaning.minWords} words; URLs ${cleaning.removeUrls ? 'removed' : 'kept'}, e-mail addresses ${cleaning.removeEmails ? 'removed' : 'kept'}`,
  cleaning.languages.length > 0 ? `languages: ${cleaning.languages.join(', ')}` : 'every language',
  `exact duplicates ${deduplication.exact ? 'removed' : 'kept'}; near duplicates ${deduplication.nearThreshold > 0 ? `removed above Jaccard ${deduplication.nearThreshold} on ${deduplication.shingleWords}-word shingles` : 'kept'}`,
  ngramWords === 0
    ? 'compared with no evaluation set'
    : `texts removed that share ${ngramWords} words in a row with an evaluation text, or nearly repeat one`,
  `${split.trainPercent} % train, by cluster, seed ${split.seed}; sample ${format.sample}`,
]

/** What the other text of an example is. */
export const likeWhat = (rule: Example['rule']): string => (rule === 'contaminated' ? 'evaluation text' : 'kept')
