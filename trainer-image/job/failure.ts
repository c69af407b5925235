import type { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'

/** Reasons of job_result.proto and the exit code of each. */
export const exitCodes = {
  Completed: 0,
  ConfigurationInvalid: 64,
  SourceInvalid: 65,
  NotFound: 66,
  NothingFits: 67,
  NoValidation: 68,
  Unavailable: 69,
  NonFinite: 70,
  DeviceOutOfMemory: 71,
  DriverUnusable: 72,
  StorageFailed: 73,
  StorageFull: 74,
  Locked: 75,
  VerificationFailed: 76,
  AccessDenied: 77,
  DeviceLost: 78,
  Stopped: 143,
  Internal: 1,
} as const

export type Reason = keyof typeof exitCodes
export type FailureReason = Exclude<Reason, 'Completed'>

/** What a job had reached when it failed; goes into its result beside the reason. */
export type PartialResult = Pick<JobResult, 'preparation' | 'fetch' | 'run' | 'merge' | 'push'>

/** Ends a job with a typed reason. The message names the field or file, the value and what was expected. */
export class JobFailure extends Error {
  override readonly name = 'JobFailure'
  readonly reason: FailureReason
  readonly partial: PartialResult

  constructor(reason: FailureReason, message: string, options: ErrorOptions & { partial?: PartialResult } = {}) {
    super(message, options)
    this.reason = reason
    this.partial = options.partial ?? {}
  }
}

const reasonsByCode: Readonly<Record<string, FailureReason>> = {
  ENOSPC: 'StorageFull',
  EDQUOT: 'StorageFull',
  EIO: 'StorageFailed',
  EROFS: 'StorageFailed',
  EACCES: 'StorageFailed',
  EPERM: 'StorageFailed',
  EMFILE: 'StorageFailed',
  ESTALE: 'StorageFailed',
  ENOTDIR: 'StorageFailed',
  FOLDER_LOCKED: 'Locked',
  SEAL_BROKEN: 'SourceInvalid',
  // of the native engine
  OUT_OF_MEMORY: 'DeviceOutOfMemory',
  DATA_INVALID: 'SourceInvalid',
  INVALID_ARGUMENT: 'ConfigurationInvalid',
  DEVICE_UNAVAILABLE: 'DriverUnusable',
  DEVICE_LOST: 'DeviceLost',
}

/** The failure that an error means, found by its code or its cause's; anything unknown is a bug: Internal. */
export function failureOf(error: unknown): JobFailure {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof JobFailure) return cause
    const code = (cause as NodeJS.ErrnoException).code
    const reason = code === undefined ? undefined : reasonsByCode[code]
    if (reason !== undefined) return new JobFailure(reason, cause.message, { cause: error })
  }
  return new JobFailure('Internal', error instanceof Error ? error.message : String(error), { cause: error })
}
