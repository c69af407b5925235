/** The fields of the cluster's objects that these tests read. */

export interface Condition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
}
export interface CustomObject {
  readonly metadata: { readonly name: string; readonly uid: string; readonly generation: number }
  readonly spec: Readonly<Record<string, unknown>>
  readonly status?: {
    readonly observedGeneration?: number
    readonly conditions?: readonly Condition[]
    readonly digest?: string
    readonly location?: string
    readonly counts?: Readonly<Record<string, number>>
    readonly attempts?: readonly {
      readonly number: number
      readonly reason?: string
      readonly resumedFromStep?: number
      readonly exact?: boolean
    }[]
    readonly failures?: number
    readonly datasetLocation?: string
    readonly progress?: { readonly step: number; readonly totalSteps: number }
    readonly baseline?: { readonly loss?: string }
    readonly checkpoints?: readonly {
      readonly name: string
      readonly step: number
      readonly digest: string
      readonly path: string
      readonly best?: boolean
      readonly evalLoss?: string
    }[]
    readonly active?: { readonly digest?: string; readonly checkpoint?: string; readonly run?: string }
    readonly step?: { readonly percent: number }
    readonly drill?: { readonly state?: string; readonly message?: string }
    readonly pods?: readonly {
      readonly name: string
      readonly uid: string
      readonly restarts: number
      readonly digest?: string
    }[]
  }
}
export interface Pod {
  readonly metadata: { readonly name: string; readonly uid: string; readonly deletionTimestamp?: string }
  readonly status: {
    readonly phase: string
    readonly podIP?: string
    readonly containerStatuses?: readonly {
      readonly containerID?: string
      readonly restartCount: number
      readonly ready: boolean
    }[]
  }
}
