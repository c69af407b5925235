export type NativeErrorCode =
  | 'INVALID_ARGUMENT'
  | 'OUT_OF_MEMORY'
  | 'DATA_INVALID'
  | 'CANCELLED'
  /** No driver, one that is too old, no device, or an engine for the CPU alone: the message says what to do. */
  | 'DEVICE_UNAVAILABLE'
  /** An ECC error or a device that fell off the bus: the process cannot use it any more. */
  | 'DEVICE_LOST'
  | 'INTERNAL'

export class NativeError extends Error {
  readonly code: NativeErrorCode
  constructor(code: NativeErrorCode, message: string) {
    super(message)
    this.name = 'NativeError'
    this.code = code
  }
}
