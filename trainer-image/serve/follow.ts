import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import { type Remembered, readDesired } from './desired.ts'
import type { Closable } from './lease.ts'
import type { Release } from './release.ts'
import { nameDigest } from './switch.ts'

const POLL_MILLISECONDS = 1000
const FIRST_RETRY_MILLISECONDS = 5_000
const LAST_RETRY_MILLISECONDS = 60_000

/** The higher generation of what the pod remembers and what the ConfigMap says; the ConfigMap wins between equals. */
export function newest(...candidates: readonly (DesiredAdapter | undefined)[]): DesiredAdapter | undefined {
  return candidates.reduce(
    (best, next) => (next && (!best || next.generation > best.generation) ? next : best),
    undefined,
  )
}

/**
 * Keeps the release on what desired.json says, with gRPC blocked and the operator down: the file is read again every
 * second, a load that failed is tried again after 5 s, doubling to 60 s. Ends when the signal aborts; never throws.
 */
export async function follow(
  release: Release<Closable>,
  desiredFile: string,
  remembered: Remembered | undefined,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  let complaint = ''
  let tried = 0
  let retry: { readonly at: number; readonly wait: number } | undefined
  while (!signal.aborted) {
    const written = await readDesired(desiredFile).catch((error: Error) => {
      if (error.message !== complaint) log.error(error.message)
      complaint = error.message
      return undefined
    })
    const wanted = newest(written, release.desired, remembered?.desired)
    const isNew = wanted !== undefined && wanted.generation > Math.max(tried, release.desired?.generation ?? 0)
    const isDue = !release.converged && (retry ? Date.now() >= retry.at : release.failed)
    if (wanted && (isNew || isDue)) {
      tried = wanted.generation
      const wait = isNew || !retry ? FIRST_RETRY_MILLISECONDS : Math.min(retry.wait * 2, LAST_RETRY_MILLISECONDS)
      log.info({ generation: wanted.generation, digest: nameDigest(wanted.digest) }, 'switching')
      retry = await release.want(wanted).then(
        () => undefined,
        () => ({ at: Date.now() + wait, wait }),
      )
      if (retry) await fallBack(release, remembered?.served, log)
    }
    await sleep(POLL_MILLISECONDS, undefined, { signal }).catch(() => undefined)
  }
}

async function fallBack(release: Release<Closable>, served: DesiredAdapter | undefined, log: Logger): Promise<void> {
  if (release.serving || !served) return
  await release
    .fallBack(served)
    .then(() => log.warn({ digest: nameDigest(served.digest) }, 'serving what served before the restart'))
    .catch((error) => log.error({ err: error }, 'cannot serve what served before the restart'))
}
