/**
 * Calls to a pod's gRPC port as anybody in its network can make them. Started as a program it makes the calls of its one
 * argument, which is how they get into the cluster's network.
 */
import { Client, credentials, Metadata, type MethodDefinition, type ServiceError, status } from '@grpc/grpc-js'
import { ServingServiceService } from '#proto/humanizer/trainer/v1/serving_service.ts'
import { TrainerServiceService } from '#proto/humanizer/trainer/v1/trainer_service.ts'
import { createSigner } from '../../operator/trust/signer.ts'
import { trainerPort } from '../../operator/workload/job.ts'
import type { Pod } from './objects.ts'
import type { World } from './world.ts'

const methods = { ...TrainerServiceService, ...ServingServiceService }
type Method = 'getRun' | 'stop' | 'getStatus' | 'activate' | 'deactivate'

/** The object that the pod works for. */
export interface Callee {
  readonly pod: Pod
  readonly ownerUid: string
  readonly attempt?: number
}

export interface Call {
  readonly method: Method
  readonly request: object
  /** PKCS #8 PEM of the key that signs the call; absent: the call carries no token. */
  readonly signedWith?: string
  readonly generation?: number
}

/** `code` is gRPC's name, "OK" for an answer. */
export interface Reply {
  readonly code: string
  readonly details: string
  readonly response?: unknown
}

interface Prepared {
  readonly method: Method
  readonly request: object
  readonly token: string | undefined
}

/** Makes the calls one after another from inside the cluster's network. */
export async function callPod(
  world: World,
  { pod, ownerUid, attempt = 0 }: Callee,
  calls: readonly Call[],
): Promise<readonly Reply[]> {
  const prepared = calls.map(async ({ method, request, signedWith, generation = 0 }): Promise<Prepared> => {
    const identity = { podUid: pod.metadata.uid, ownerUid, attempt, generation, method: methods[method].path }
    return { method, request, token: signedWith && (await createSigner(signedWith).sign(identity)) }
  })
  const input = { address: `${pod.status.podIP}:${trainerPort}`, calls: await Promise.all(prepared) }
  const output = await world.inNetwork(process.execPath, [import.meta.filename, JSON.stringify(input)])
  return JSON.parse(output) as Reply[]
}

function call(client: Client, { method, request, token }: Prepared): Promise<Reply> {
  const { path, requestSerialize, responseDeserialize } = methods[method] as MethodDefinition<object, object>
  const metadata = new Metadata()
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`)
  const options = { deadline: Date.now() + 20_000 }
  return new Promise((resolve) =>
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      options,
      (error: ServiceError | null, response) =>
        resolve(
          error
            ? { code: status[error.code], details: error.details }
            : { code: 'OK', details: '', response: response! },
        ),
    ),
  )
}

if (import.meta.main) {
  const { address, calls } = JSON.parse(process.argv[2]!) as { address: string; calls: Prepared[] }
  const unchecked = credentials.createSsl(null, null, null, {
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  })
  const client = new Client(address, unchecked, { 'grpc.ssl_target_name_override': 'pod', 'grpc.enable_http_proxy': 0 })
  const replies: Reply[] = []
  for (const each of calls) replies.push(await call(client, each))
  console.log(JSON.stringify(replies))
  client.close()
}
