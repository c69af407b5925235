import type { Response } from 'undici'
import { JobFailure } from '../job/failure.ts'

const mostTries = 4

/**
 * Sends again after trouble that passes: no answer, 429 and 5xx. The last answer is the caller's to judge; without one it throws
 * Unavailable.
 */
export async function patiently(
  what: string,
  send: () => Promise<Response>,
  signal: AbortSignal | undefined,
): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const answer = await send().catch((error: Error & { cause?: Error }) => {
      signal?.throwIfAborted()
      if (attempt < mostTries) return undefined
      throw new JobFailure('Unavailable', `${what}: ${error.cause?.message ?? error.message}`, { cause: error })
    })
    const passes = !answer || answer.status === 429 || answer.status >= 500
    if (!passes || attempt >= mostTries) return answer!
    await answer?.body?.cancel()
    await new Promise((resolve) => setTimeout(resolve, 200 * 2 ** attempt))
  }
}
