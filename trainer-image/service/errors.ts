import { status } from '@grpc/grpc-js'
import { type FailureReason, failureOf } from '../job/failure.ts'

/** A call that is refused with a gRPC status of the handler's choice. */
export class CallRefused extends Error {
  override readonly name = 'CallRefused'
  readonly status: status

  constructor(code: status, message: string, options?: ErrorOptions) {
    super(message, options)
    this.status = code
  }
}

export interface CallStatus {
  readonly code: status
  readonly details: string
}

const statusOf: Readonly<Record<FailureReason, status>> = {
  ConfigurationInvalid: status.INVALID_ARGUMENT,
  SourceInvalid: status.DATA_LOSS,
  VerificationFailed: status.DATA_LOSS,
  NotFound: status.NOT_FOUND,
  NothingFits: status.FAILED_PRECONDITION,
  NoValidation: status.FAILED_PRECONDITION,
  Unavailable: status.UNAVAILABLE,
  NonFinite: status.FAILED_PRECONDITION,
  DeviceOutOfMemory: status.RESOURCE_EXHAUSTED,
  DriverUnusable: status.FAILED_PRECONDITION,
  DeviceLost: status.UNAVAILABLE,
  StorageFailed: status.UNAVAILABLE,
  StorageFull: status.RESOURCE_EXHAUSTED,
  Locked: status.FAILED_PRECONDITION,
  AccessDenied: status.PERMISSION_DENIED,
  Stopped: status.UNAVAILABLE,
  Internal: status.INTERNAL,
}

/** The one place where errors become gRPC statuses. */
export function callStatusOf(error: unknown): CallStatus {
  if (error instanceof CallRefused) return { code: error.status, details: error.message }
  const failure = failureOf(error)
  return { code: statusOf[failure.reason], details: failure.message }
}
