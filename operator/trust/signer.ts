import { createPrivateKey } from 'node:crypto'
import { SignJWT } from 'jose'

/** The one call that a token is good for (proto trust.proto). */
export interface CallIdentity {
  /** metadata.uid of the pod that is called; becomes `aud`. */
  readonly podUid: string
  /** metadata.uid of the dataset, run or release; becomes `sub`. */
  readonly ownerUid: string
  /** Attempt of the run; 0 where there are none. */
  readonly attempt: number
  /** Generation of the desired state that a serving pod is told; 0 where there is none. */
  readonly generation: number
  /** Full gRPC path, e.g. /humanizer.trainer.v1.TrainerService/GetRun. */
  readonly method: string
}

export interface Signer {
  /** A compact JWT, EdDSA, good for 60 seconds. */
  sign(call: CallIdentity): Promise<string>
}

/** Longest life of a token, in seconds; pods refuse more. */
export const TOKEN_LIFE_SECONDS = 60

/** Throws when the key is not an Ed25519 private key in PKCS #8 PEM. */
export function createSigner(privateKeyPem: string, now: () => Date = () => new Date()): Signer {
  const key = createPrivateKey(privateKeyPem)
  if (key.asymmetricKeyType !== 'ed25519')
    throw new TypeError(`privateKeyPem: wanted an Ed25519 key, got ${key.asymmetricKeyType}`)
  return {
    sign({ podUid, ownerUid, attempt, generation, method }) {
      const issued = Math.floor(now().getTime() / 1000)
      return new SignJWT({ attempt, generation, method })
        .setProtectedHeader({ alg: 'EdDSA' })
        .setAudience(podUid)
        .setSubject(ownerUid)
        .setIssuedAt(issued)
        .setExpirationTime(issued + TOKEN_LIFE_SECONDS)
        .sign(key)
    },
  }
}
