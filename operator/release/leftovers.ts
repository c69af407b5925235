import type { KubeObject } from '../kube/cluster.ts'
import { attemptLabel } from '../workload/names.ts'
import type { Release } from './adapter.ts'
import { currentMerge } from './merging.ts'
import { currentPush } from './pushing.ts'

/** Jobs of earlier attempts, and of what is not to be merged or pushed any more, with their ConfigMaps. The last one that ended stays for its log. */
export function leftovers(release: Release, objects: readonly KubeObject[]): KubeObject[] {
  const wanted = [wantedMerge(release), currentPush(release)].map((work) => work?.jobName)
  return objects.filter(
    ({ metadata }) => metadata.labels?.[attemptLabel] !== undefined && !wanted.includes(metadata.name),
  )
}

function wantedMerge(release: Release): ReturnType<typeof currentMerge> {
  const { merge, candidate, verdict } = release.status ?? {}
  const isMerging = verdict?.state === 'Merging' && merge?.digest === candidate?.digest
  return merge?.finishTime !== undefined || isMerging ? currentMerge(release) : undefined
}
