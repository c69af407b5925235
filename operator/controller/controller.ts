import type { KubeObject } from '../kube/cluster.ts'
import type { Outcome } from './outcome.ts'

/** A kind of object that can be watched. */
export interface Kind {
  readonly apiVersion: string
  readonly kind: string
  /** Lower-case plural of the URL, e.g. `jobs`. */
  readonly plural: string
}

/**
 * A kind of object that the controller makes. Only objects labelled app.kubernetes.io/managed-by=humanizer and
 * ownerLabel=<owner's name> are watched; a change of one enqueues that owner.
 */
export interface ChildKind extends Kind {
  /** humanizer.dev/dataset, humanizer.dev/run or humanizer.dev/release. */
  readonly ownerLabel: string
}

/** A kind that the controller reads but does not make. */
interface RelatedKind<T extends KubeObject> extends Kind {
  /** Narrows the watch; absent: all objects of the kind. */
  readonly labelSelector?: string
  /** Whether a change of `related`, which is in the owner's namespace, may change what is to be done for `owner`. Pure and cheap: asked for every cached owner. */
  concerns(owner: T, related: KubeObject): boolean
}

/** What a controller of one kind tells the loop. The loop knows nothing else of it. */
export interface Controller<T extends KubeObject> {
  /** For logs and metrics: dataset, run, release. */
  readonly name: string
  readonly kind: Kind
  readonly children: readonly ChildKind[]
  readonly related?: readonly RelatedKind<T>[]
  /**
   * Brings one object closer to its spec. Called by one worker at a time per object, only while this replica leads, with
   * the newest object of the watch; never for an object that is gone. `now` is the only clock a decision may use.
   */
  reconcile(object: T, now: Date): Promise<Outcome>
  /** The object is gone for good: drop what is kept in memory for it. */
  forget?(key: ObjectKey): void
}

/** `namespace/name`. */
export type ObjectKey = `${string}/${string}`

export const keyOf = (object: KubeObject): ObjectKey => `${object.metadata.namespace ?? ''}/${object.metadata.name}`
