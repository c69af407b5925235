import { status } from '@grpc/grpc-js'
import { importSPKI, jwtVerify } from 'jose'
import { CallRefused } from './errors.ts'

/** The longest life of a token, in seconds, and the clock difference between two nodes that is forgiven. */
export const tokenSeconds = 60
const clockToleranceSeconds = 5

/** Whom this pod is: a token must be made for exactly this. */
export interface Audience {
  readonly podUid: string
  readonly ownerUid: string
  readonly attempt: number
  /** Generation that the pod has; 0 when it has none. A token for a lower one comes from a past operator. */
  readonly generation?: () => number
}

/** What a token says of its call beyond what was checked here. */
export interface Caller {
  /** Generation that the call may ask for; 0 where there is none. */
  readonly generation: number
}

/**
 * Resolves when the token allows the method on this pod. Throws UNAUTHENTICATED with the claim that is wrong, and
 * FAILED_PRECONDITION for a generation that is past.
 */
export type Authorize = (token: string | undefined, method: string) => Promise<Caller>

/** Checks tokens signed with EdDSA by the key whose SPKI PEM is given (trust.proto says what they hold). */
export async function authorizer(publicKeyPem: string, audience: Audience): Promise<Authorize> {
  const key = await importSPKI(publicKeyPem, 'EdDSA')
  const refuse = (why: string, cause?: unknown): CallRefused =>
    new CallRefused(status.UNAUTHENTICATED, why, cause === undefined ? {} : { cause })
  return async (token, method) => {
    if (token === undefined) throw refuse('the call has no "authorization: Bearer" token')
    let claims: Awaited<ReturnType<typeof jwtVerify>>['payload']
    try {
      const verified = await jwtVerify(token, key, {
        algorithms: ['EdDSA'],
        audience: audience.podUid,
        subject: audience.ownerUid,
        requiredClaims: ['exp', 'aud', 'sub', 'method', 'attempt'],
        clockTolerance: clockToleranceSeconds,
      })
      claims = verified.payload
    } catch (error) {
      throw refuse(`token refused: ${error instanceof Error ? error.message : error}`, error)
    }
    const secondsLeft = (claims.exp ?? Number.POSITIVE_INFINITY) - Date.now() / 1000
    if (secondsLeft > tokenSeconds + clockToleranceSeconds)
      throw refuse(`token refused: exp is ${Math.round(secondsLeft)} s ahead; at most ${tokenSeconds} s is allowed`)
    if (claims.method !== method) throw refuse(`token refused: method is ${claims.method}; the call is ${method}`)
    if (claims.attempt !== audience.attempt)
      throw refuse(`token refused: attempt is ${claims.attempt}; this pod is attempt ${audience.attempt}`)
    const generation = Number(claims.generation ?? 0)
    if (!Number.isSafeInteger(generation) || generation < 0)
      throw refuse(`token refused: generation is ${claims.generation}; expected a whole number`)
    const current = audience.generation?.() ?? 0
    if (generation < current)
      throw new CallRefused(
        status.FAILED_PRECONDITION,
        `token refused: generation is ${generation}; this pod has ${current}`,
      )
    return { generation }
  }
}
