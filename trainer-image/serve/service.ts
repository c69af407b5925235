import { status } from '@grpc/grpc-js'
import { type ServingServiceServer, ServingServiceService } from '#proto/humanizer/trainer/v1/serving_service.ts'
import { CallRefused } from '../service/errors.ts'
import { type Served, service } from '../service/server.ts'
import type { Release } from './release.ts'

/** ServingService: translate, call, translate back. */
export function servingService(release: Release): Served {
  return service<ServingServiceServer>(ServingServiceService, {
    activate: async ({ desired }) => {
      if (!desired) throw new CallRefused(status.INVALID_ARGUMENT, 'desired is absent, expected what should serve')
      await release.want(desired)
      return { state: release.state() }
    },
    deactivate: async ({ generation }) => {
      await release.want({ generation, digest: '', sourcePath: '', format: release.desired?.format })
      return { state: release.state() }
    },
    getStatus: async () => ({ state: release.state() }),
  })
}
