import type { ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { KubeObject } from '../kube/cluster.ts'
import type { ClaimState } from '../workload/claim.ts'

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
  /** Why it does not run yet, in the scheduler's or the kubelet's words. */
  readonly trouble: { readonly kind: 'unschedulable' | 'container'; readonly message: string } | undefined
  /** What it says it has loaded; undefined when it did not answer. Never proof that it is Ready. */
  readonly state: ServingState | undefined
}

/** What the cluster and the pods looked like when we read them. */
export interface Observed {
  /** All runs of the namespace. */
  readonly runs: readonly QLoRARun[]
  /** Undefined: the claim of spec.storage does not exist. */
  readonly claim: ClaimState | undefined
  /** This release's Deployments, ConfigMaps, Service and NetworkPolicy. */
  readonly children: readonly KubeObject[]
  readonly pods: readonly ServingPod[]
  /** Pods (`uid/generation`) that Activate was already sent to in this reconcile: not asked twice. */
  readonly called: ReadonlySet<string>
}

export const callKey = (podUid: string, generation: number): string => `${podUid}/${generation}`
