import type { LicensePolicy, Source } from '#proto/humanizer/trainer/v1/preparation.ts'
import { JobFailure } from '../job/failure.ts'
import { satisfies } from './license.ts'
import { presetOf } from './presets.ts'

/** A row is kept when the column holds one of the values; numbers are compared as numbers, so "0" is also 0.0. */
export interface Condition {
  readonly column: string
  readonly values: readonly string[]
  /** Every other value that the column is known to have. When given, a value of neither list stops the preparation. */
  readonly others?: readonly string[]
}

export type Format = 'CSV' | 'JSONL' | 'Parquet' | 'Text'

/** Who says under which licence a source stands. */
export type LicenseEvidence = 'spec' | 'known repository' | 'repository card' | 'none'

export interface License {
  /** SPDX expression, or empty when undeclared. */
  readonly expression: string
  readonly evidence: LicenseEvidence
}

/** A source with everything that was left to us filled in. */
export interface PlannedSource {
  readonly name: string
  readonly location: Source
  /** Absent: by the ending of each file. */
  readonly format: Format | undefined
  readonly textColumn: string
  /** Column of the other text of a pair; empty: the source has no pairs. */
  readonly inputColumn: string
  /** Rows of one value in it stay on one side of the split; empty: each row for itself. */
  readonly groupColumn: string
  /** All must hold for a row to be human-written. The first is about who wrote it, the others about what was done to it. */
  readonly human: readonly Condition[]
  /** Glob patterns of the repository's files; empty means every file of a known format. */
  readonly files: readonly string[]
  readonly license: License
  readonly cautions: readonly string[]
  /** Rows read at most. */
  readonly limit: number
}

const formats: readonly Format[] = ['CSV', 'JSONL', 'Parquet', 'Text']

/** Fills in what the source leaves open: from the repository's preset, else text column "text" and every row human. */
export function planSource(source: Source): PlannedSource {
  const preset = source.huggingFace && presetOf(source.huggingFace.repository)
  const format = formats.find((known) => known === source.format)
  if (source.format !== '' && format === undefined)
    throw new JobFailure(
      'ConfigurationInvalid',
      `source ${source.name}: format is "${source.format}"; expected ${formats.join(', ')}`,
    )
  if ([source.huggingFace, source.filePath, source.http].filter((location) => location !== undefined).length !== 1)
    throw new JobFailure(
      'ConfigurationInvalid',
      `source ${source.name}: expected exactly one of huggingFace, filePath and http`,
    )
  if (source.http) nameInUrl(source.name, source.http.url)
  const files = source.huggingFace?.files ?? []
  return {
    name: source.name,
    location: source,
    format,
    textColumn: source.textColumn || preset?.textColumn || 'text',
    inputColumn: source.inputColumn ?? preset?.inputColumn ?? '',
    groupColumn: source.groupColumn ?? preset?.groupColumn ?? '',
    human: humanRows(source, preset?.human ?? []),
    files: files.length > 0 ? files : (preset?.files ?? []),
    license: source.license
      ? { expression: source.license, evidence: 'spec' }
      : preset?.license
        ? { expression: preset.license, evidence: 'known repository' }
        : { expression: '', evidence: 'none' },
    cautions: [...(preset?.cautions ?? []), ...ruleReplaced(source, preset?.human ?? [])],
    limit: source.limit > 0 ? source.limit : Number.POSITIVE_INFINITY,
  }
}

/** As a source; every row counts where the set itself does not say otherwise. */
export const planEvaluation = (set: Source): PlannedSource =>
  planSource({ ...set, keep: set.keep ?? { policy: 'All', column: '', values: [], conditions: [] } })

/** What a download is called on disk: its ending may tell the format. */
export function nameInUrl(source: string, url: string): string {
  try {
    const name = decodeURIComponent(new URL(url).pathname.split('/').at(-1) ?? '')
    return name.replace(/[^\w.-]/g, '_') || 'download'
  } catch (error) {
    throw new JobFailure(
      'ConfigurationInvalid',
      `source ${source}: sources[].http.url is "${url}"; expected an absolute URL in which every % begins an escape such as %25`,
      { cause: error },
    )
  }
}

/**
 * Several conditions of the user's are the whole rule. A single one takes the place of the known one on its column, or stands behind the known ones:
 * the first stays the one about who wrote a row, or what a human wrote would pass for a machine's.
 */
function humanRows({ name, keep }: Source, known: readonly Condition[]): readonly Condition[] {
  if (keep === undefined || keep.policy === '') return known
  if (keep.policy === 'All') return []
  if (keep.policy !== 'Matching')
    throw new JobFailure(
      'ConfigurationInvalid',
      `source ${name}: keep.policy is "${keep.policy}"; expected All or Matching`,
    )
  const own = { column: keep.column, values: keep.values }
  if ((keep.conditions.length > 0 ? keep.conditions : [own]).some(({ column, values }) => !column || !values.length))
    throw new JobFailure(
      'ConfigurationInvalid',
      `source ${name}: keep.policy Matching needs keep.column and keep.values, or both in each of keep.conditions`,
    )
  if (keep.conditions.length > 0) return keep.conditions
  const isOnIt = ({ column }: Condition): boolean => column === own.column
  return known.some(isOnIt) ? known.map((condition) => (isOnIt(condition) ? own : condition)) : [...known, own]
}

/** For a reviewer: that the known rule, or a part of it, does not count. */
const ruleReplaced = ({ keep }: Source, known: readonly Condition[]): readonly string[] =>
  keep?.policy && known.length > 0
    ? [`sources[].keep is other than what is known of the repository: human-written is ${inWords(known)}.`]
    : []

/** "label in [human] and attack in [none]". */
export const inWords = (conditions: readonly Condition[]): string =>
  conditions.map(({ column, values }) => `${column} in [${values.join(', ')}]`).join(' and ')

/** Throws SourceInvalid when the policy does not allow the licence. */
export function requireLicense(name: string, license: License, policy: LicensePolicy | undefined): void {
  if (policy === undefined) return
  const { requireDeclared, allowed } = policy
  if (license.expression === '') {
    const declare = 'set sources[].license when you have checked it'
    if (requireDeclared || allowed.length > 0)
      throw new JobFailure(
        'SourceInvalid',
        `source ${name}: license is undeclared; expected ${allowed.length > 0 ? `one of ${allowed.join(', ')}: ${declare}` : `a declared one: ${declare}, or licensePolicy.requireDeclared to false to use it without`}`,
      )
    return
  }
  if (allowed.length > 0 && !satisfies(license.expression, allowed))
    throw new JobFailure(
      'SourceInvalid',
      `source ${name}: license "${license.expression}" (from ${license.evidence}) is not allowed; licensePolicy.allowed has ${allowed.join(', ')}`,
    )
}
