/** A registry without TLS that this machine pushes to and a cluster of up.sh pulls from, under one name on both sides. */
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { dump } from 'js-yaml'
import { spawnTied } from '../child.ts'
import { script, waitFor } from './kubectl.ts'

export interface Registry {
  /** 127.0.0.1:port, on the host and in the cluster's network alike. */
  readonly host: string
  stop(): Promise<void>
}

/**
 * The registry listens on a socket of the file system, since the cluster's network and the host's do not meet; each side forwards
 * a port of its loopback to it.
 */
export async function startRegistry(runDir: string): Promise<Registry> {
  const program = (await script('registry.sh', {})).trim()
  const folder = join(runDir, 'registry')
  const socket = join(folder, 'socket')
  const config = join(folder, 'config.yaml')
  mkdirSync(folder, { recursive: true })
  const storage = { filesystem: { rootdirectory: join(folder, 'storage') } }
  writeFileSync(config, dump({ version: '0.1', storage, http: { net: 'unix', addr: socket } }))

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
  const inCluster = `TCP-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr`
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
  await waitFor('the registry to answer', 20, async () => ((await fetch(`http://${host}/v2/`)).ok ? true : undefined))
  return {
    host,
    async stop() {
      stop()
      forwarder.close()
    },
  }
}
