import { status } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import { failureOf } from '../job/failure.ts'
import { CallRefused } from '../service/errors.ts'
import type { Base } from './base.ts'

/** How long a failure stands before the base is opened again for the next who asks, in milliseconds. */
const STANDS_MILLISECONDS = 4_000

/**
 * The base for everyone who needs it: opened once, and again after a failure, since a volume may come back and a damaged
 * base be fetched again. A failure is FAILED_PRECONDITION in the words of what is wrong; the pod lives on to say it.
 */
export function baseOpener(
  open: () => Promise<Base>,
  log: Logger,
  standsMilliseconds: number = STANDS_MILLISECONDS,
): () => Promise<Base> {
  let opening: Promise<Base> | undefined
  let failedAt: number | undefined
  return () => {
    if (failedAt !== undefined && performance.now() - failedAt >= standsMilliseconds) opening = failedAt = undefined
    opening ??= open().catch((error: unknown) => {
      failedAt = performance.now()
      const { reason, message } = failureOf(error)
      log.error({ reason, ...(reason === 'Internal' && { err: error }) }, message)
      throw new CallRefused(status.FAILED_PRECONDITION, message, { cause: error })
    })
    return opening
  }
}
