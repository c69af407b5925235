/** Names one namespaced object. */
export interface ObjectRef {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
}

interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
  blockOwnerDeletion?: boolean
}

export interface ObjectMeta {
  name: string
  namespace?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  labels?: Record<string, string>
  annotations?: Record<string, string>
  ownerReferences?: OwnerReference[]
  /** RFC 3339, as everywhere in this interface: the plain JSON of the API, never Date. */
  creationTimestamp?: string
  deletionTimestamp?: string
}

/** Any object as the API server's JSON has it. */
export interface KubeObject {
  apiVersion: string
  kind: string
  metadata: ObjectMeta
  [field: string]: unknown
}

/**
 * Everything the controllers may do to Kubernetes. Errors are those of errors.ts (Conflict, NotFound, Forbidden,
 * Invalid, Unavailable); whatever is not said to be handled here is thrown, and the controller's loop retries.
 */
export interface Cluster {
  /** Live read, never the cache. Not found is undefined. */
  get<T extends KubeObject = KubeObject>(ref: ObjectRef): Promise<T | undefined>
  /** Live list, all pages. Items carry apiVersion and kind. */
  list<T extends KubeObject = KubeObject>(
    kind: { readonly apiVersion: string; readonly kind: string },
    namespace: string,
    labelSelector: string,
  ): Promise<T[]>
  /** Plain create. 'exists' when the name is taken, by whomever: the caller compares the owner's uid. */
  create(object: KubeObject): Promise<'created' | 'exists'>
  /** Server-side apply with the field manager `humanizer`, forced. Idempotent. */
  apply<T extends KubeObject>(object: T): Promise<T>
  /** Deletes the object with exactly this uid. An object that is gone, or has another uid by now, is a success. */
  delete(
    ref: ObjectRef,
    options: { readonly uid: string; readonly propagationPolicy: 'Foreground' | 'Background' },
  ): Promise<void>
  /**
   * Replaces the status of `object`, guarded by its resourceVersion: a newer object, or a newer leader's write, throws
   * Conflict. Nothing is sent when the status is already so. Resolves the object as it now is: a second write in one
   * reconcile must start from it.
   */
  writeStatus<T extends KubeObject>(object: T, status: unknown): Promise<T>
  /** Records an Event; equal ones within the API server's memory are counted up. Call only when a condition's reason changes. Never throws. */
  event(object: KubeObject, type: 'Normal' | 'Warning', reason: string, message: string): Promise<void>
}
