import { status } from '@grpc/grpc-js'
import { type ServingServiceServer, ServingServiceService } from '#proto/humanizer/trainer/v1/serving_service.ts'
import type { Caller } from '../service/authorize.ts'
import { CallRefused } from '../service/errors.ts'
import { type Served, service } from '../service/server.ts'
import type { Closable } from './lease.ts'
import type { Release } from './release.ts'

/** A token for one generation is good for no other: what it was signed for is what it may ask. */
function requireGeneration(asked: number, { generation }: Caller): void {
  if (asked !== generation)
    throw new CallRefused(
      status.UNAUTHENTICATED,
      `token refused: generation is ${generation}; the call asks for ${asked}`,
    )
}

/** ServingService: translate, call, translate back. */
export function servingService(release: Release<Closable>): Served {
  return service<ServingServiceServer>(ServingServiceService, {
    activate: async ({ desired }, _, caller) => {
      if (!desired) throw new CallRefused(status.INVALID_ARGUMENT, 'desired is absent, expected what should serve')
      requireGeneration(desired.generation, caller)
      await release.want(desired)
      return { state: release.state() }
    },
    deactivate: async ({ generation }, _, caller) => {
      requireGeneration(generation, caller)
      const { format, warmSeconds = 0 } = release.desired ?? {}
      await release.want({ generation, digest: '', sourcePath: '', format, warmSeconds, split: undefined })
      return { state: release.state() }
    },
    getStatus: async () => ({ state: release.state() }),
  })
}
