import type {
  Cleaning,
  Deduplication,
  LicensePolicy,
  PrepareConfig,
  SampleFormat,
  Split,
} from '#proto/humanizer/trainer/v1/preparation.ts'
import { JobFailure } from '../job/failure.ts'
import { knownLanguages } from './language.ts'
import { type PlannedSource, planEvaluation, planSource } from './source.ts'

/** A PrepareConfig whose every field was checked. */
export interface Settings {
  /** Of the HumanizerDataset; "local" when nobody owns the work. */
  readonly ownerUid: string
  /** The HumanizerDataset; absent for a local run. */
  readonly owner: { readonly namespace: string; readonly name: string } | undefined
  readonly specHash: string
  readonly sources: readonly PlannedSource[]
  readonly cleaning: Cleaning
  readonly deduplication: Deduplication
  /** Absent: there are no evaluation sets. */
  readonly decontamination: { readonly sources: readonly PlannedSource[]; readonly ngramWords: number } | undefined
  readonly split: Split
  readonly format: SampleFormat & { readonly sample: 'Identity' | 'Denoise' | 'Paired' }
  readonly licensePolicy: LicensePolicy
  /** What the preparation plans with. */
  readonly memoryBytes: number
}

/** Below it the bands of native/dedup.h (32 of 8 hashes) would miss near duplicates in silence: 0.3 % at 0.8, half at 0.62. */
export const lowestNearThreshold = 0.8

/** Throws ConfigurationInvalid that names the field, its value and what was expected. */
export function settingsOf(config: PrepareConfig): Settings {
  const { cleaning, deduplication, split, format } = config
  if (!cleaning || !deduplication || !split || !format)
    throw invalid('cleaning, deduplication, split and format', 'incomplete', 'all four')
  const ownerUid = config.owner?.uid || 'local'
  // These three become names of files.
  check(/^[\w-]{1,64}$/.test(ownerUid), 'owner.uid', ownerUid, 'letters, digits and "-"')
  check(/^(sha256:)?[\w-]{1,128}$/.test(config.specHash), 'specHash', config.specHash, 'a sha256')
  const read = [...config.sources, ...(config.decontamination?.sources ?? [])]
  for (const { name } of read)
    check(/^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(name), 'sources[].name', name, 'lower-case letters, digits and "-"')
  check(config.sources.length > 0, 'sources', '[]', 'at least one')
  const names = read.map(({ name }) => name)
  check(new Set(names).size === names.length, 'sources[].name', names.join(', '), 'different names')

  const { minCharacters, maxCharacters, minWords } = cleaning
  check(
    minCharacters >= 0 && minCharacters <= maxCharacters,
    'cleaning.minCharacters',
    minCharacters,
    `0 to ${maxCharacters}`,
  )
  check(minWords >= 0, 'cleaning.minWords', minWords, 'at least 0')
  const unknown = cleaning.languages.find((language) => !knownLanguages.includes(language))
  if (unknown !== undefined) throw invalid('cleaning.languages', unknown, `some of ${knownLanguages.join(', ')}`)
  const { nearThreshold, shingleWords } = deduplication
  check(
    nearThreshold === 0 || (nearThreshold >= lowestNearThreshold && nearThreshold <= 1),
    'deduplication.nearThreshold',
    nearThreshold,
    `0 (off) or ${lowestNearThreshold} to 1`,
  )
  check(nearThreshold === 0 || shingleWords >= 1, 'deduplication.shingleWords', shingleWords, 'at least 1')
  const ngramWords = config.decontamination?.ngramWords ?? 13
  check(ngramWords >= 5 && ngramWords <= 50, 'decontamination.ngramWords', ngramWords, '5 to 50')
  check(split.trainPercent >= 1 && split.trainPercent <= 100, 'split.trainPercent', split.trainPercent, '1 to 100')
  check(format.userTemplate.includes('{text}'), 'format.userTemplate', format.userTemplate, 'a text with {text}')
  const { sample } = format
  if (sample !== 'Identity' && sample !== 'Denoise' && sample !== 'Paired')
    throw invalid('format.sample', sample, 'Identity, Denoise or Paired')
  const sources = config.sources.map(planSource)
  if (sample === 'Paired' && sources.every(({ inputColumn }) => inputColumn === ''))
    throw invalid('format.sample', sample, 'a source with pairs: sources[].inputColumn')
  return {
    ownerUid,
    owner: config.owner?.name ? config.owner : undefined,
    specHash: config.specHash,
    sources,
    cleaning,
    deduplication,
    decontamination: config.decontamination && {
      sources: config.decontamination.sources.map(planEvaluation),
      ngramWords,
    },
    split,
    format: { ...format, sample },
    licensePolicy: config.licensePolicy ?? { requireDeclared: true, allowed: [] },
    memoryBytes: config.memoryBytes || 2 * 2 ** 30,
  }
}

const invalid = (field: string, value: string | number, expected: string): JobFailure =>
  new JobFailure('ConfigurationInvalid', `${field} is ${JSON.stringify(value)}; expected ${expected}`)

function check(holds: boolean, field: string, value: string | number, expected: string): void {
  if (!holds) throw invalid(field, value, expected)
}
