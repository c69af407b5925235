import type { Adapter, Release } from './adapter.ts'

/** uids of the runs that are there, by name. */
export type LiveRuns = ReadonlyMap<string, string>

interface Reference {
  readonly adapter: Adapter
  readonly role: 'active' | 'candidate' | 'previous' | 'history'
}

/** Everything that a release refers to, each adapter once: by its nearest use. */
function references({ status = {} }: Release): Reference[] {
  const { active, candidate, previous, history = [] } = status
  const all = [
    { adapter: active, role: 'active' },
    { adapter: candidate, role: 'candidate' },
    { adapter: previous, role: 'previous' },
    ...history.map((adapter) => ({ adapter, role: 'history' })),
  ] as { adapter: Adapter | undefined; role: Reference['role'] }[]
  const found = all.filter((each): each is Reference => each.adapter?.run !== undefined)
  return found.filter(
    ({ adapter }, index) =>
      found.findIndex((each) => each.adapter.run === adapter.run && each.adapter.digest === adapter.digest) === index,
  )
}

/** Names of the runs that adapters of the release came from. */
export const runsOf = (release: Release): string[] => [
  ...new Set(references(release).map(({ adapter }) => adapter.run ?? '')),
]

const mostNamed = 4

/**
 * What a release keeps of runs that were deleted, by name: their files are swept only when nothing refers to them any more. A run that was
 * made again under the name is another one.
 */
export function keptOf(release: Release, live: LiveRuns): string | undefined {
  const gone = references(release).filter(({ adapter }) => isGone(adapter, live))
  const runs = [...new Set(gone.map(({ adapter }) => adapter.run))]
  if (runs.length === 0) return undefined
  const named = gone.slice(0, mostNamed).map(({ adapter: { name }, role }) => `${name} (${role})`)
  const more = gone.length > mostNamed ? ` and ${gone.length - mostNamed} more` : ''
  const which = runs.length === 1 ? `run ${runs[0]} is deleted` : `runs ${runs.join(', ')} are deleted`
  return `${which}; release ${release.metadata.name} keeps on the claim ${named.join(', ')}${more}`
}

function isGone({ run = '', path = '' }: Adapter, live: LiveRuns): boolean {
  const uid = /^runs\/[^/]+\/[^/]+\/([^/]+)\//.exec(path)?.[1]
  const now = live.get(run)
  return now === undefined || (uid !== undefined && uid !== now)
}
