import type { Reclaim, Sweep } from '#proto/humanizer/trainer/v1/storage.ts'
import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { Cluster } from '../kube/cluster.ts'

/** An object whose spec says what becomes of its files. */
export type Reclaimable = HumanizerDataset | QLoRARun | AdapterRelease

/** All objects of the three kinds in one namespace. */
interface Living {
  readonly datasets: readonly HumanizerDataset[]
  readonly runs: readonly QLoRARun[]
  readonly releases: readonly AdapterRelease[]
}

/** A configuration has to fit an object of 1 MiB; a longer list of the living is not sent, and nothing is swept. */
const SWEEP_BYTES = 262_144

/** What is recorded beside the files of an object. */
export const reclaimOf = ({ kind, metadata, spec }: Reclaimable): Reclaim => ({
  kind,
  policy: spec.storage.reclaimPolicy,
  createdTime: metadata.creationTimestamp ?? '',
  sweep: undefined,
})

/** As reclaimOf, for a Job: with what lives, read now. Without it when it cannot be read: a Job never waits for that. */
export async function reclaimWithSweep(cluster: Cluster, object: Reclaimable): Promise<Reclaim> {
  const { namespace = '' } = object.metadata
  const list = <T extends Reclaimable>(kind: T['kind']) =>
    cluster.list<T>({ apiVersion: object.apiVersion, kind }, namespace, '')
  const living = await Promise.all([
    list<HumanizerDataset>('HumanizerDataset'),
    list<QLoRARun>('QLoRARun'),
    list<AdapterRelease>('AdapterRelease'),
  ]).then(
    ([datasets, runs, releases]) => ({ datasets, runs, releases }),
    () => undefined,
  )
  const sweep = living && sweepOf(living)
  const fits = sweep !== undefined && JSON.stringify(sweep).length <= SWEEP_BYTES
  return { ...reclaimOf(object), sweep: fits ? sweep : undefined }
}

/** What must stay: everything of what lives, and everything that it refers to. */
export function sweepOf({ datasets, runs, releases }: Living): Sweep {
  const uids = [...datasets, ...runs, ...releases].map(({ metadata }) => metadata.uid)
  const digests = [
    ...datasets.map(({ status }) => status?.digest),
    ...runs.map(({ status }) => status?.datasetDigest),
    ...releases.flatMap(adaptersOf).flatMap(({ digest, merged }) => [digest, merged?.digest]),
    ...releases.map(({ spec }) => spec.source.digest),
  ]
  return { liveUids: unique([...uids, ...releases.flatMap(unpromotedRuns)]), liveDigests: unique(digests) }
}

type Adapter = NonNullable<NonNullable<AdapterRelease['status']>['active']>

function adaptersOf({ status = {} }: AdapterRelease): Adapter[] {
  const { active, candidate, previous, resolved, history = [] } = status
  return [active, candidate, previous, resolved?.adapter, ...history].filter((adapter) => adapter !== undefined)
}

/** uids of runs that a release was pointed at and has not served yet: its pods still copy from there. */
function unpromotedRuns(release: AdapterRelease): (string | undefined)[] {
  const { candidate, resolved, history = [] } = release.status ?? {}
  const served = new Set(history.map(({ digest }) => digest))
  return [candidate, resolved?.adapter]
    .filter((adapter) => adapter !== undefined && !served.has(adapter.digest))
    .map((adapter) => /^runs\/[^/]+\/[^/]+\/([^/]+)\//.exec(adapter?.path ?? '')?.[1])
}

const unique = (values: readonly (string | undefined)[]): string[] =>
  [...new Set(values.filter((value): value is string => value !== undefined && value !== ''))].sort()
