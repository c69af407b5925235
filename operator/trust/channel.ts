import {
  Client,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceError,
  status as Status,
} from '@grpc/grpc-js'
import type { Signer } from './signer.ts'

/** The pod that is called and the identity that its tokens carry. */
export interface Peer {
  /** status.podIP. */
  readonly host: string
  readonly port: number
  readonly podUid: string
  readonly ownerUid: string
  readonly attempt: number
  readonly generation: number
}

/**
 * What became of a call. unreachable: no answer in time, so nothing is known. refused: the pod answered with an error
 * (code is gRPC's name, e.g. UNAUTHENTICATED). A call never throws or rejects.
 */
export type Answer<T> =
  | { readonly kind: 'answered'; readonly response: T }
  | { readonly kind: 'unreachable'; readonly message: string }
  | { readonly kind: 'refused'; readonly code: keyof typeof Status; readonly message: string }

/** Calls to one pod, each with its own token. */
export interface PodCalls {
  /** timeoutMs defaults to the operator's call timeout. */
  call<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    options?: { readonly timeoutMs?: number },
  ): Promise<Answer<Response>>
}

const CHANNEL_OPTIONS = {
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 5_000,
  'grpc.max_receive_message_length': 4 << 20,
  // An address must not be sent as a TLS server name; the pod ignores the name.
  'grpc.ssl_target_name_override': 'humanizer',
  // A proxy of the cluster's environment must never see a pod's address.
  'grpc.enable_http_proxy': 0,
}
/** A connection without calls for this long is closed: pods come and go. */
const IDLE_MS = 60_000

/**
 * Connections to pods by address. The pod's certificate is its own and proves nothing, so it is not checked: a stranger
 * at that address learns a token that is good for 60 seconds, for a pod that it is not.
 */
export class Channels {
  readonly #clients = new Map<string, { client: Client; timer: NodeJS.Timeout }>()
  readonly #signer: Signer
  readonly #callTimeoutMs: number

  constructor(signer: Signer, callTimeoutMs: number) {
    this.#signer = signer
    this.#callTimeoutMs = callTimeoutMs
  }

  peer(peer: Peer): PodCalls {
    return {
      call: (method, request, options) => this.#call(peer, method, request, options?.timeoutMs ?? this.#callTimeoutMs),
    }
  }

  close(): void {
    for (const { client, timer } of this.#clients.values()) {
      clearTimeout(timer)
      client.close()
    }
    this.#clients.clear()
  }

  async #call<Request, Response>(
    peer: Peer,
    method: MethodDefinition<Request, Response>,
    request: Request,
    timeoutMs: number,
  ): Promise<Answer<Response>> {
    try {
      const metadata = await this.#authorise(peer, method.path)
      const client = this.#client(peer)
      return await new Promise((resolve) => {
        const { path, requestSerialize, responseDeserialize } = method
        const options = { deadline: Date.now() + timeoutMs }
        client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadata,
          options,
          (error, response) => resolve(error ? failure(error) : { kind: 'answered', response: response! }),
        )
      })
    } catch (error) {
      return { kind: 'unreachable', message: String(error) }
    }
  }

  async #authorise({ podUid, ownerUid, attempt, generation }: Peer, method: string): Promise<Metadata> {
    const metadata = new Metadata()
    const token = await this.#signer.sign({ podUid, ownerUid, attempt, generation, method })
    metadata.set('authorization', `Bearer ${token}`)
    return metadata
  }

  #client({ host, port }: Peer): Client {
    const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
    const known = this.#clients.get(address)
    if (known) {
      known.timer.refresh()
      return known.client
    }
    const client = new Client(
      address,
      credentials.createSsl(null, null, null, { rejectUnauthorized: false, checkServerIdentity: () => undefined }),
      CHANNEL_OPTIONS,
    )
    const timer = setTimeout(() => {
      this.#clients.delete(address)
      client.close()
    }, IDLE_MS).unref()
    this.#clients.set(address, { client, timer })
    return client
  }
}

const UNKNOWN_FATE: readonly Status[] = [Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED]

function failure(error: ServiceError): Answer<never> {
  if (UNKNOWN_FATE.includes(error.code)) return { kind: 'unreachable', message: error.details }
  return { kind: 'refused', code: Status[error.code] as keyof typeof Status, message: error.details }
}
