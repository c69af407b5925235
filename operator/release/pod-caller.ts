import { setTimeout as sleep } from 'node:timers/promises'
import { type DesiredAdapter, ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import { ServingServiceService } from '#proto/humanizer/trainer/v1/serving_service.ts'
import type { Trust } from '../trust/trust.ts'
import { baseDigest } from './adapter.ts'
import { callPort } from './serving.ts'

export interface PodAddress {
  readonly ip: string
  readonly uid: string
  /** uid of the release. */
  readonly ownerUid: string
}

/** Talks to serving pods. Silence is an answer: nothing here throws because of a pod. */
export interface PodCaller {
  /** What the pod says it has loaded, by plain GET of its readiness page; undefined when it does not answer. */
  state(pod: PodAddress, httpPort: number): Promise<ServingState | undefined>
  /**
   * Asks for a switch, and waits a little for the answer. That is not used as proof: what the pod then says of itself is
   * read again.
   */
  activate(pod: PodAddress, desired: DesiredAdapter): Promise<void>
  /**
   * Asks for two tokens, as a client does. Resolves the digest that answered (baseName for the base), empty when the pod is busy and
   * says so, undefined when the request was lost.
   */
  ask(pod: PodAddress, httpPort: number, modelName: string): Promise<string | undefined>
}

/** What a pod's answers call the untouched base. */
export const baseName = 'base'

/** A pod that does not say what it has within this time, in milliseconds, counts as silent. */
const stateTimeoutMs = 1_000
/** Copying, checking and loading an adapter. A pod that takes longer goes on by itself and is asked later. */
const activateTimeoutMs = 20_000
/** Nobody waits longer for a pod to load: meanwhile spec.source may have become another. */
const activateWaitMs = 2_000
/** Two tokens of a large model on a busy CPU take seconds. */
const askTimeoutMs = 20_000
/** A readiness page is a few hundred bytes; more is not read. */
const stateBytes = 16_384

export function createPodCaller(trust: Trust): PodCaller {
  return {
    async state({ ip }, httpPort) {
      try {
        // Not ready answers 503 with the same page: it says what failed.
        const answer = await fetch(`${urlOf(ip, httpPort)}/readyz`, {
          signal: AbortSignal.timeout(stateTimeoutMs),
          redirect: 'error',
        })
        return parseState(await answer.text())
      } catch {
        return undefined
      }
    },
    async activate({ ip, uid, ownerUid }, desired) {
      const { generation } = desired
      const peer = trust.peer({ host: ip, port: callPort, podUid: uid, ownerUid, attempt: 0, generation })
      const options = { timeoutMs: activateTimeoutMs }
      const answered =
        desired.digest === baseDigest
          ? peer.call(ServingServiceService.deactivate, { generation }, options)
          : peer.call(ServingServiceService.activate, { desired }, options)
      const timer = new AbortController()
      const { signal } = timer
      await Promise.race([answered, sleep(activateWaitMs, undefined, { signal, ref: false }).catch(() => undefined)])
      timer.abort()
    },
    async ask({ ip }, httpPort, model) {
      const signal = AbortSignal.timeout(askTimeoutMs)
      try {
        const answer = await fetch(`${urlOf(ip, httpPort)}/v1/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ model, prompt: 'The', max_tokens: 2, temperature: 0 }),
          signal,
          redirect: 'error',
        })
        await answer.arrayBuffer()
        if (answer.status === 429) return ''
        return answer.ok ? (answer.headers.get('x-humanizer-adapter-digest') ?? undefined) : undefined
      } catch {
        return undefined
      }
    },
  }
}

const urlOf = (ip: string, port: number): string => `http://${ip.includes(':') ? `[${ip}]` : ip}:${port}`

/** undefined for anything that is not a ServingState as JSON. */
export function parseState(text: string): ServingState | undefined {
  if (text.length > stateBytes) return undefined
  try {
    const state = ServingState.fromJSON(JSON.parse(text))
    const sound = [state.generation, state.failedGeneration].every((each) => Number.isSafeInteger(each) && each >= 0)
    const time = state.loadedTime === '' || !Number.isNaN(Date.parse(state.loadedTime))
    return sound && time && /^(sha256:[0-9a-f]{64})?$/.test(state.digest) ? state : undefined
  } catch {
    return undefined
  }
}
