import type { ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import type { KubeObject } from '../kube/cluster.ts'
import type { AttemptState } from '../workload/attempt-state.ts'
import type { ClaimState } from '../workload/claim.ts'
import type { Probes } from './probes.ts'
import type { Sources } from './source.ts'

/** A pod of one of the release's Deployments, and what it says of itself. */
export interface ServingPod {
  readonly name: string
  readonly uid: string
  /** Deployment it belongs to. */
  readonly deployment: string
  /** Absent until it has one. */
  readonly ip: string | undefined
  /** Its Ready condition: the Service leads to it. */
  readonly ready: boolean
  /** On its way out: neither called nor counted. */
  readonly terminating: boolean
  readonly restarts: number
  /** Why it does not run, in the scheduler's, the kubelet's or its own last words. artifact: files are not on the claim. */
  readonly trouble: { readonly kind: 'unschedulable' | 'artifact' | 'container'; readonly message: string } | undefined
  /** What it says it has loaded; undefined when it did not answer, or somebody else did. Never proof that it is Ready. */
  readonly state: ServingState | undefined
  /** Why what it said counts for nothing, when it said something that it cannot know, or cannot be so. */
  readonly doubt: string | undefined
}

/** What the cluster and the pods looked like when we read them. */
export interface Observed {
  readonly sources: Sources
  /** Undefined: the claim of spec.storage does not exist. */
  readonly claim: ClaimState | undefined
  /** This release's Deployments, ConfigMaps, Service and NetworkPolicy. */
  readonly children: readonly KubeObject[]
  readonly pods: readonly ServingPod[]
  /** Where the attempt that status.merge speaks of stands. */
  readonly merge: AttemptState
  /** Where the attempt that status.push speaks of stands. */
  readonly push: AttemptState
  /** This release's Jobs that are not being deleted; not read before the first merge or push. */
  readonly jobs: readonly KubeObject[]
  readonly asked: Asked
}

/** What this reconcile has already asked of pods. */
export interface Asked {
  /** Pods (callKey) that Activate was sent to: not asked twice. */
  readonly called: ReadonlySet<string>
  /** uids of pods that did not answer: others do not wait for them again. */
  readonly silent: ReadonlySet<string>
  /** Requests sent beside the switches of a drill and not written down yet. */
  readonly probes: Probes
}

export const callKey = (podUid: string, generation: number): string => `${podUid}/${generation}`
