import { setTimeout as sleep } from 'node:timers/promises'

/** Requests that the operator itself sent while pods switched. */
export interface Probes {
  readonly answered: number
  /** Without an answer, or with one of the server's failure. */
  readonly lost: number
}

export const noProbes: Probes = { answered: 0, lost: 0 }

export const sumOf = (a: Probes, b: Probes): Probes => ({ answered: a.answered + b.answered, lost: a.lost + b.lost })

/** Clients of each pod, in a closed loop. */
const clientsPerPod = 2
/** How long pods are asked on until each has answered by the new adapter, in milliseconds. */
const afterMs = 5_000
/** A pod that refuses connections is not asked more often than this, in milliseconds. */
const pauseMs = 50

/**
 * Asks every pod without a pause while `switching` lasts, and then until each has answered by the digest that is wanted.
 * `ask` resolves the digest that answered, empty when it was told to come back later, undefined when the request was lost.
 */
export async function whileAsking<Pod>(
  pods: readonly Pod[],
  ask: (pod: Pod) => Promise<string | undefined>,
  wanted: string,
  switching: Promise<unknown>,
): Promise<Probes> {
  let [answered, lost] = [0, 0]
  let isOver = false
  const waited = new Set(pods)
  const heard = Promise.withResolvers<void>()
  const client = async (pod: Pod): Promise<void> => {
    while (!isOver) {
      const digest = await ask(pod)
      if (digest === undefined) lost++
      else answered++
      if (digest === wanted) waited.delete(pod)
      if (waited.size === 0) heard.resolve()
      if (!digest) await sleep(pauseMs)
    }
  }
  const clients = pods.flatMap((pod) => Array.from({ length: clientsPerPod }, () => client(pod)))
  const timer = new AbortController()
  try {
    await switching
    if (pods.length > 0)
      await Promise.race([heard.promise, sleep(afterMs, undefined, { signal: timer.signal }).catch(() => undefined)])
  } finally {
    timer.abort()
    isOver = true
    await Promise.all(clients)
  }
  return { answered, lost }
}
