import { type ServingHealth, ServingState } from '#proto/humanizer/trainer/v1/serving.ts'

/** What a pod's readiness page said. Neither: it did not answer. */
export interface Heard {
  readonly state?: ServingState
  /** Why the answer counts for nothing, in words that go on "pod x: …". */
  readonly doubt?: string
}

/** A readiness page is a few hundred bytes; more is not read. */
const stateBytes = 16_384
/** Clocks of two machines may differ by this much, in milliseconds: what Kerberos allows. */
const clockMilliseconds = 300_000

/** Believes nothing that a serving pod of ours cannot say. */
export function parseState(text: string): Heard {
  if (text.length > stateBytes)
    return { doubt: `its readiness page has ${text.length} characters, expected at most ${stateBytes}` }
  let state: ServingState
  try {
    state = ServingState.fromJSON(JSON.parse(text))
  } catch {
    return { doubt: `its readiness page is "${text.slice(0, 40)}", expected a ServingState as JSON` }
  }
  const doubt = doubtOf(state)
  return doubt === undefined ? { state } : { doubt }
}

function doubtOf(state: ServingState): string | undefined {
  const { digest, splitDigest, splitPercent, generation, failedGeneration, loadedTime } = state
  const { answeredRequests, lostRequests } = state
  const miscount = doubtOfCounts({ generation, failedGeneration, answeredRequests, lostRequests, splitPercent })
  if (miscount !== undefined) return miscount
  for (const [field, value] of Object.entries({ digest, splitDigest }))
    if (!/^(sha256:[0-9a-f]{64})?$/.test(value))
      return `${field} is "${value.slice(0, 80)}", expected a sha256 or nothing`
  if (loadedTime !== '' && Number.isNaN(Date.parse(loadedTime))) return `loadedTime is "${loadedTime}", expected a time`
  if (loadedTime === '' && (digest !== '' || generation > 0))
    return `it names ${digest || 'the base'} at generation ${generation}, but no time at which it had loaded that`
  return doubtOfHealth('health', state.health) ?? doubtOfHealth('splitHealth', state.splitHealth)
}

function doubtOfHealth(name: string, health: ServingHealth | undefined): string | undefined {
  if (!health) return undefined
  const { requests, errors, firstTokenP95Seconds: seconds } = health
  const miscount = doubtOfCounts({ [`${name}.requests`]: requests, [`${name}.errors`]: errors })
  if (miscount !== undefined) return miscount
  if (!Number.isFinite(seconds) || seconds < 0) return `${name}.firstTokenP95Seconds is ${seconds}, expected seconds`
  return errors > requests ? `${name} counts ${errors} errors among ${requests} requests` : undefined
}

function doubtOfCounts(counts: Readonly<Record<string, number>>): string | undefined {
  const found = Object.entries(counts).find(([, count]) => !Number.isSafeInteger(count) || count < 0)
  return found && `${found[0]} is ${found[1]}, expected a count`
}

/**
 * What a pod said, if it was this pod, and this container of it, that said it: an address can have become another pod's, and what a
 * container loaded is gone when it has started again. `startedAt` is in whole seconds, on the clock of the pod's node.
 */
export function ownWords({ state, doubt }: Heard, uid: string, startedAt: string | undefined, now: Date): Heard {
  if (!state) return doubt === undefined ? {} : { doubt }
  const { podUid, loadedTime } = state
  if (podUid !== uid) return { doubt: `it answers as pod "${podUid}", expected "${uid}"` }
  if (startedAt !== undefined && Date.parse(loadedTime) < Date.parse(startedAt))
    return { doubt: `it says that it loaded at ${loadedTime}, before its container started at ${startedAt}` }
  if (Date.parse(loadedTime) > now.getTime() + clockMilliseconds)
    return { doubt: `it says that it loaded at ${loadedTime}, which is yet to come` }
  return { state }
}
