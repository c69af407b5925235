import { ReleaseReason } from '../api/release-reasons.ts'
import type { KubeObject } from '../kube/cluster.ts'
import { volumeObstacle } from '../workload/pod-state.ts'
import { type Adapter, nameOf } from './adapter.ts'
import type { ServingPod } from './observed.ts'
import { agrees, podsRefused, podTrouble, rolledOut } from './pods.ts'
import type { Split } from './steps.ts'

/** What keeps the desired adapter from being answered everywhere, and in how many seconds to look again. */
export interface Obstacle {
  readonly reason: ReleaseReason
  readonly message: string
  readonly seconds: number
}

/** Undefined when every pod has it. `has`: whether a pod is known to. */
export function obstacle(
  deployment: KubeObject | undefined,
  pods: readonly ServingPod[],
  desired: Adapter,
  split: Split | undefined,
  has: (pod: ServingPod) => boolean,
): Obstacle | undefined {
  const doubted = pods.find(({ doubt }) => doubt)
  if (doubted)
    return { reason: ReleaseReason.PodsDisagree, message: `pod ${doubted.name}: ${doubted.doubt}`, seconds: 10 }
  const liar = pods.find(
    (pod) => pod.state && pod.state.generation >= desired.generation && !agrees(pod, desired, split),
  )
  if (liar)
    return {
      reason: ReleaseReason.PodsDisagree,
      message: `pod ${liar.name} says it has ${liar.state?.digest || 'base'} at generation ${liar.state?.generation}${sharedBy(liar)}, expected ${nameOf(desired)} at ${desired.generation}`,
      seconds: 10,
    }
  const failed = pods.find(({ state }) => state?.failure && state.failedGeneration === desired.generation)
  if (failed) {
    const failure = failed.state?.failure ?? ''
    const message = `pod ${failed.name} cannot load ${nameOf(desired)}: ${failure}; it tries again`
    return { reason: failureReason(failure), message, seconds: 30 }
  }
  if (!rolledOut(deployment, pods)) return notStarted(deployment, pods)
  const waiting = pods.filter((pod) => !has(pod))
  const [first] = waiting
  if (!first) return undefined
  return {
    reason: ReleaseReason.Switching,
    message: `${pods.length - waiting.length} of ${pods.length} pods have loaded ${nameOf(desired)}; pod ${first.name} ${saysOf(first)}`,
    seconds: 1,
  }
}

const sharedBy = ({ state }: ServingPod): string =>
  state?.splitPercent ? ` with ${state.splitPercent} % to ${state.splitDigest}` : ''

function saysOf({ state }: ServingPod): string {
  if (!state) return 'does not answer'
  return state.loadedTime === ''
    ? 'has loaded nothing yet'
    : `has ${state.digest || 'the base'} at generation ${state.generation}`
}

function notStarted(deployment: KubeObject | undefined, pods: readonly ServingPod[]): Obstacle {
  const refused = podsRefused(deployment)
  if (refused) return { reason: ReleaseReason.Forbidden, message: refused, seconds: 60 }
  const trouble = podTrouble(pods)
  if (trouble) {
    const ofVolumes = trouble.kind === 'unschedulable' ? volumeObstacle(trouble.message) : undefined
    return { reason: ofVolumes ?? reasonOf[trouble.kind], message: trouble.message, seconds: 5 }
  }
  const name = deployment?.metadata.name ?? 'the Deployment'
  return {
    reason: ReleaseReason.PodsStarting,
    message: `waiting for the pods of ${name} to become ready`,
    seconds: 5,
  }
}

const reasonOf = {
  unschedulable: ReleaseReason.NoCapacity,
  artifact: ReleaseReason.ArtifactMissing,
  container: ReleaseReason.PodsStarting,
} as const

/** A serving pod's words for an adapter or a base that is not on the claim; test/wire holds the two together. */
const missing =
  /^adapters\/[0-9a-f]{64} does not exist\b|\bis missing; the manifest lists it$|: there is no such model\b/

/** Why a pod could not load an adapter: its files are gone, they are no good, or what is computed from them is not what was. */
export function failureReason(failure: string): ReleaseReason {
  if (missing.test(failure)) return ReleaseReason.ArtifactMissing
  return canary.test(failure) ? ReleaseReason.CanaryFailed : ReleaseReason.LoadFailed
}

/** Its words when what it computes is not what was sealed with the adapter; test/wire holds the two together. */
const canary = /^(?:the base, )?canary text /
