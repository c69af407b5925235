import { Channels, type Peer, type PodCalls } from './channel.ts'
import { createSigner } from './signer.ts'

/** What a controller needs to talk to its pods: the public part for their configuration, and signed calls to them. */
export interface Trust {
  /** SPKI PEM, for Trust.public_key in a pod's configuration. */
  readonly publicKeyPem: string
  /** Signed calls to one pod. Connections are shared by address and closed when unused. */
  peer(peer: Peer): PodCalls
  /** Closes all connections; calls under way answer 'unreachable'. */
  close(): void
}

export function createTrust(
  settings: { readonly publicKeyPem: string; readonly privateKeyPem: string; readonly callTimeoutMs: number },
  now?: () => Date,
): Trust {
  const channels = new Channels(createSigner(settings.privateKeyPem, now), settings.callTimeoutMs)
  return {
    publicKeyPem: settings.publicKeyPem,
    peer: (peer) => channels.peer(peer),
    close: () => channels.close(),
  }
}
