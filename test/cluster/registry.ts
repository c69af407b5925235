/** A registry without TLS that this machine and a cluster of up.sh push to and pull from, under one name on both sides. */
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { spawnTied } from '../child.ts'
import { registrySettings } from '../fixtures/registry.ts'
import { script, waitFor } from './kubectl.ts'

/** NODE_IP of env.sh. */
const nodeAddress = '172.31.77.2'

export interface Registry {
  /** 127.0.0.1:port, on the host and in the cluster's network alike. */
  readonly host: string
  /** What pods of the cluster, whose loopback is their own, reach it by. */
  readonly hostOfPods: string
  /** What it has written so far: a line for each request, among others. */
  log(): string
  stop(): Promise<void>
}

/**
 * The registry listens on a socket of the file system, since the cluster's network and the host's do not meet; each side forwards
 * a port of its loopback to it, the cluster's its node's too. `auth` as in fixtures/registry.ts.
 */
export async function startRegistry(runDir: string, auth?: object): Promise<Registry> {
  const program = (await script('registry.sh', {})).trim()
  const folder = join(runDir, 'registry')
  const socket = join(folder, 'socket')
  rmSync(folder, { recursive: true, force: true }) // of an earlier run on this cluster
  mkdirSync(folder, { recursive: true })
  const config = registrySettings(folder, { net: 'unix', addr: socket }, auth)

  const forwarder = createServer((client) => {
    const registry = connect(socket)
    client.pipe(registry).pipe(client)
    client.on('error', () => registry.destroy())
    registry.on('error', () => client.destroy())
  })
  await new Promise<void>((resolve) => forwarder.listen(0, '127.0.0.1', resolve))
  const address = forwarder.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const host = `127.0.0.1:${port}`

  const log = openSync(join(folder, 'log'), 'a')
  const start = (command: string, ...args: string[]): ChildProcess =>
    spawnTied(command, args, { stdio: ['ignore', log, log] })
  const init = readFileSync(join(runDir, 'pid.init'), 'utf8').trim()
  const inCluster = `TCP-LISTEN:${port},fork,reuseaddr`
  const children = [
    start(program, 'serve', config),
    start('nsenter', '-t', init, '-n', 'socat', inCluster, `UNIX-CONNECT:${socket}`),
  ]
  const stop = (): void => {
    for (const child of children) child.kill()
  }
  const hosts = join(runDir, 'certs.d', host)
  mkdirSync(hosts, { recursive: true })
  writeFileSync(join(hosts, 'hosts.toml'), `server = "http://${host}"\n`)
  await waitFor('the registry to answer', 20, () => fetch(`http://${host}/v2/`))
  return {
    host,
    hostOfPods: `${nodeAddress}:${port}`,
    log: () => readFileSync(join(folder, 'log'), 'utf8'),
    async stop() {
      stop()
      forwarder.close()
    },
  }
}
