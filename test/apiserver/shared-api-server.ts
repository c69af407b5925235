import { type Address, ApiServer, startApiServer } from './api-server.ts'

const SHARED = 'HUMANIZER_TEST_API_SERVER'

/** Starts one for all processes that this one starts from now on: see sharedApiServer(). */
export async function startSharedApiServer(): Promise<ApiServer> {
  const server = await startApiServer({ controllerManager: true })
  process.env[SHARED] = JSON.stringify(server.address)
  return server
}

/**
 * One with a controller manager for tests that leave it as they found it, each in namespaces of its own: the one of the whole stage, which
 * stop() leaves alone; for a file that runs by itself, one that is its own.
 */
export async function sharedApiServer(): Promise<ApiServer> {
  const address = process.env[SHARED]
  return address ? new ApiServer({}, JSON.parse(address) as Address) : startApiServer({ controllerManager: true })
}
