import type { PrepareConfig, Source } from '#proto/humanizer/trainer/v1/preparation.ts'
import type { Reclaim } from '#proto/humanizer/trainer/v1/storage.ts'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import { digestOf } from '../workload/digest.ts'
import { trainerPort } from '../workload/job.ts'
import { tokenFile } from '../workload/pod.ts'

type Spec = HumanizerDataset['spec']
export type SpecSource = Spec['sources'][number]

/** What decides the rows: two specs of equal hash need one preparation. Pods, storage, tokens, memory and review do not count. */
export function specHash({
  sources,
  cleaning,
  deduplication,
  decontamination,
  split,
  format,
  licensePolicy,
}: Spec): string {
  return digestOf({
    sources: sources.map(withoutToken),
    cleaning,
    deduplication,
    ...(decontamination && {
      decontamination: { ...decontamination, sources: decontamination.sources.map(withoutToken) },
    }),
    split,
    format,
    licensePolicy,
  })
}

/** Everything that is read: the sources, and the evaluation sets. */
export const sourcesRead = ({ sources, decontamination }: Spec): readonly SpecSource[] => [
  ...sources,
  ...(decontamination?.sources ?? []),
]

function withoutToken(source: SpecSource): unknown {
  if (!source.huggingFace) return source
  const { tokenSecretRef: _, ...huggingFace } = source.huggingFace
  return { ...source, huggingFace }
}

/** Where the files of a volume or configMap source are mounted. */
export const sourceFolder = (source: SpecSource): string => `/sources/${source.name}`

/** Configuration of one attempt of `prepare`. */
export function prepareConfig(
  dataset: HumanizerDataset,
  attempt: number,
  publicKeyPem: string,
  reclaim: Reclaim,
): PrepareConfig {
  const { metadata, spec } = dataset
  return {
    owner: { namespace: metadata.namespace ?? '', name: metadata.name, uid: metadata.uid ?? '' },
    trust: { publicKey: publicKeyPem, port: trainerPort },
    attempt,
    sources: spec.sources.map(sourceOf),
    cleaning: { ...spec.cleaning, languages: spec.cleaning.languages ?? [] },
    deduplication: { ...spec.deduplication, nearThreshold: Number(spec.deduplication.nearThreshold) },
    split: spec.split,
    format: spec.format,
    licensePolicy: spec.licensePolicy,
    specHash: specHash(spec),
    reclaim,
    memoryBytes: bytesOf(spec.memory),
    decontamination: spec.decontamination && {
      sources: spec.decontamination.sources.map(sourceOf),
      ngramWords: spec.decontamination.ngramWords,
    },
  }
}

/** Of a quantity such as 512Mi or 2Gi, which the CRD holds to that form. */
const bytesOf = (quantity: string): number => Number.parseInt(quantity, 10) * 2 ** (quantity.endsWith('Gi') ? 30 : 20)

function sourceOf(source: SpecSource): Source {
  return {
    name: source.name,
    huggingFace: source.huggingFace && {
      repository: source.huggingFace.repo,
      revision: source.huggingFace.revision,
      files: source.huggingFace.files ?? [],
      tokenFile: source.huggingFace.tokenSecretRef ? tokenFile(source.name) : '',
    },
    filePath: filePath(source),
    mountPath: source.volume || source.configMap ? sourceFolder(source) : '',
    http: source.http,
    format: source.format ?? '',
    textColumn: source.textColumn ?? '',
    keep: source.keep && {
      policy: source.keep.policy,
      column: source.keep.column ?? '',
      values: source.keep.values ?? [],
      conditions: source.keep.conditions ?? [],
    },
    license: source.license ?? '',
    limit: source.limit ?? 0,
    groupColumn: source.groupColumn,
    inputColumn: source.inputColumn,
  }
}

function filePath(source: SpecSource): string | undefined {
  if (source.volume) return `${sourceFolder(source)}/${source.volume.path}`
  if (source.configMap) return `${sourceFolder(source)}/${source.configMap.key}`
  return undefined
}
