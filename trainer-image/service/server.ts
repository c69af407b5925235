import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { Trust } from '#proto/humanizer/trainer/v1/trust.ts'
import { JobFailure } from '../job/failure.ts'
import { type Audience, type Authorize, authorizer, type Caller } from './authorize.ts'
import { makeCertificate } from './certificate.ts'
import { callStatusOf } from './errors.ts'

/** A unary handler: the signal aborts when the caller hangs up. Throws become statuses in errors.ts. */
export type Unary<Request, Response> = (request: Request, signal: AbortSignal, caller: Caller) => Promise<Response>
/** A server-streaming handler: each value is sent as it is yielded; it should end when the signal aborts. */
export type Streaming<Request, Response> = (request: Request, signal: AbortSignal) => AsyncIterable<Response>

/** The handlers of a generated service interface, such as Handlers<TrainerServiceServer>. */
export type Handlers<Service> = {
  [Method in keyof Service as string extends Method
    ? never
    : number extends Method
      ? never
      : Method]: Service[Method] extends handleUnaryCall<infer Request, infer Response>
    ? Unary<Request, Response>
    : Service[Method] extends handleServerStreamingCall<infer Request, infer Response>
      ? Streaming<Request, Response>
      : never
}

/** A service ready to be served; made by `service`. */
export interface Served {
  readonly definition: ServiceDefinition
  readonly implementation: UntypedServiceImplementation
}

/** Binds handlers to the definition that ts-proto generated, e.g. service<TrainerServiceServer>(TrainerServiceService, {…}). */
export function service<Service>(definition: ServiceDefinition, handlers: Handlers<Service>): Served {
  const byName = handlers as unknown as Record<string, Unary<unknown, unknown> & Streaming<unknown, unknown>>
  const implementation: UntypedServiceImplementation = {}
  for (const [name, method] of Object.entries(definition)) {
    const handler = byName[name]
    if (handler === undefined) throw new TypeError(`no handler for ${method.path}`)
    implementation[name] = method.responseStream ? streamingCall(handler) : unaryCall(handler)
  }
  return { definition, implementation }
}

function hangUp(call: { on(event: 'cancelled', listener: () => void): unknown }): AbortSignal {
  const controller = new AbortController()
  call.on('cancelled', () => controller.abort())
  return controller.signal
}

/** Who was let in, by the metadata of the call. */
const callers = new WeakMap<Metadata, Caller>()

const unaryCall =
  (handler: Unary<unknown, unknown>): handleUnaryCall<unknown, unknown> =>
  (call: ServerUnaryCall<unknown, unknown>, callback) => {
    handler(call.request, hangUp(call), callers.get(call.metadata) ?? { generation: 0 }).then(
      (response) => callback(null, response),
      (error) => callback(callStatusOf(error)),
    )
  }

const streamingCall =
  (handler: Streaming<unknown, unknown>): handleServerStreamingCall<unknown, unknown> =>
  async (call: ServerWritableStream<unknown, unknown>) => {
    const signal = hangUp(call)
    try {
      for await (const response of handler(call.request, signal)) {
        if (signal.aborted) return
        if (!call.write(response)) await drained(call, signal)
      }
      call.end()
    } catch (error) {
      if (!signal.aborted) call.emit('error', callStatusOf(error))
    }
  }

const drained = (call: ServerWritableStream<unknown, unknown>, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    call.once('drain', resolve)
    signal.addEventListener('abort', () => resolve(), { once: true })
  })

/** Refuses a call before its handler sees anything of it. */
const requireToken =
  (authorize: Authorize): ServerInterceptor =>
  (method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, proceed) => {
            const header = metadata.get('authorization')[0]
            const token = /^Bearer (\S+)$/.exec(String(header ?? ''))?.[1]
            authorize(token, method.path).then(
              (caller) => {
                callers.set(metadata, caller)
                proceed(metadata)
              },
              (error) => call.sendStatus({ ...callStatusOf(error) }),
            )
          },
        }),
    })

export interface RunningServer {
  /** TCP port that was bound; differs from trust.port only when that is 0. */
  readonly port: number
  /** Ends open streams and waits for calls in flight, for `graceMilliseconds` at most. */
  close(graceMilliseconds?: number): Promise<void>
}

/**
 * Serves the services over TLS with a self-made certificate; every call must carry the operator's token for this very
 * pod. Without a trusted key nothing could ever be allowed, so a configuration without one is refused.
 */
export async function startServer(
  options: Audience & {
    readonly trust: Trust | undefined
    readonly services: readonly Served[]
    readonly host?: string
  },
): Promise<RunningServer> {
  const { trust, services, host } = options
  if (trust === undefined || trust.publicKey === '')
    throw new JobFailure('ConfigurationInvalid', 'trust.publicKey is empty; expected the SPKI PEM of an Ed25519 key')
  let authorize: Authorize
  try {
    authorize = await authorizer(trust.publicKey, options)
  } catch (error) {
    throw new JobFailure('ConfigurationInvalid', `trust.publicKey is not the SPKI PEM of an Ed25519 key`, {
      cause: error,
    })
  }
  const { certificatePem, privateKeyPem } = await makeCertificate(`pod-${options.podUid}`)
  const credentials = ServerCredentials.createSsl(null, [{ cert_chain: certificatePem, private_key: privateKeyPem }])
  const server = new Server({ interceptors: [requireToken(authorize)] })
  for (const { definition, implementation } of services) server.addService(definition, implementation)
  const bind = (address: string) =>
    new Promise<number>((resolve, reject) =>
      server.bindAsync(`${address}:${trust.port}`, credentials, (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    )
  // A pod has an address of either family; a node without IPv6 refuses its wildcard.
  const port = host === undefined ? await bind('[::]').catch(() => bind('0.0.0.0')) : await bind(host)
  return {
    port,
    close: (graceMilliseconds = 500) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => {
          server.forceShutdown()
          resolve()
        }, graceMilliseconds)
        server.tryShutdown(() => {
          clearTimeout(timer)
          resolve()
        })
      }),
  }
}
