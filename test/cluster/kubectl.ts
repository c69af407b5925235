/** Talks to a cluster the way a user does: kubectl and helm with a kubeconfig. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { join } from 'node:path'
import { binDir, cacheDir } from '../cache.ts'
import { spawnTied } from '../child.ts'

/** A cluster to talk to. `context` undefined means the kubeconfig's current one. */
export interface Cluster {
  readonly kubeconfig: string | undefined
  readonly context: string | undefined
  /** Folder of a cluster that up.sh started here; undefined for a user's own. */
  readonly runDir: string | undefined
}

const environment = (cluster: Cluster): NodeJS.ProcessEnv => ({
  ...process.env,
  PATH: `${binDir}:${process.env['PATH']}`,
  ...(cluster.kubeconfig ? { KUBECONFIG: cluster.kubeconfig } : {}),
})

function execute(cluster: Cluster, program: string, args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      program,
      args,
      { env: environment(cluster), maxBuffer: 64 << 20 },
      (error, stdout, stderr) => {
        if (error) reject(new Error(`${program} ${args.join(' ')}: ${stderr.trim() || error.message}`))
        else resolve(stdout)
      },
    )
    // A program that ends before it has read its input says why itself.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}

export const kubectl = (cluster: Cluster, args: readonly string[], input?: string): Promise<string> =>
  execute(cluster, 'kubectl', cluster.context ? ['--context', cluster.context, ...args] : args, input)

export const helm = (cluster: Cluster, args: readonly string[]): Promise<string> =>
  execute(cluster, 'helm', cluster.context ? ['--kube-context', cluster.context, ...args] : args)

/** `kubectl get … -o json`; undefined when the object does not exist. */
export async function getJson<T>(cluster: Cluster, args: readonly string[]): Promise<T | undefined> {
  const text = await kubectl(cluster, ['get', ...args, '--ignore-not-found', '-o', 'json'])
  return text.trim() === '' ? undefined : (JSON.parse(text) as T)
}

/** Forwards a port of 127.0.0.1 to a Service or pod and resolves with it once it listens. `close` ends the forwarding. */
export function portForward(
  cluster: Cluster,
  namespace: string,
  target: string,
  port: number,
): Promise<{ readonly port: number; close(): void }> {
  const args = ['-n', namespace, 'port-forward', target, `:${port}`]
  const child: ChildProcess = spawnTied('kubectl', cluster.context ? ['--context', cluster.context, ...args] : args, {
    env: environment(cluster),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return new Promise((resolve, reject) => {
    let errors = ''
    child.stderr?.on('data', (chunk) => {
      errors += chunk
    })
    child.once('exit', () => reject(new Error(`port-forward to ${target} ended: ${errors.trim()}`)))
    child.stdout?.on('data', (chunk) => {
      const match = /127\.0\.0\.1:(\d+)/.exec(String(chunk))
      if (match) resolve({ port: Number(match[1]), close: () => child.kill() })
    })
  })
}

/** Runs a script of this folder, showing its lines as they come when `show` is given; resolves its standard output. */
export function script(
  name: string,
  options: {
    readonly args?: readonly string[]
    readonly env?: NodeJS.ProcessEnv
    readonly show?: (line: string) => void
  },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(import.meta.dirname, name), options.args ?? [], {
      env: { ...process.env, HUMANIZER_CACHE: cacheDir, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    let errors = ''
    child.stdout.on('data', (chunk) => {
      output += chunk
      if (options.show) for (const line of String(chunk).trimEnd().split('\n')) options.show(line)
    })
    child.stderr.on('data', (chunk) => {
      errors += chunk
    })
    child.once('error', reject)
    child.once('close', (code) =>
      code === 0 ? resolve(output) : reject(new Error(`${name}: exit ${code}\n${output}${errors}`)),
    )
  })
}

/** Starts (or finds running) the cluster named `name` behind 127.0.0.1:`port`. */
export async function startCluster(name: string, port: number, show?: (line: string) => void): Promise<Cluster> {
  await script('up.sh', { env: { CLUSTER: name, API_PORT: String(port) }, ...(show ? { show } : {}) })
  const runDir = join(cacheDir, 'run', name)
  return { kubeconfig: join(runDir, 'admin.conf'), context: undefined, runDir }
}

export const stopCluster = (name: string): Promise<string> => script('down.sh', { env: { CLUSTER: name } })

/** Names and archives of the images that images.sh built, by the names it prints. */
export async function buildImages(env: NodeJS.ProcessEnv): Promise<Readonly<Record<string, string>>> {
  const output = await script('images.sh', { env })
  return Object.fromEntries(
    output
      .trim()
      .split(/\s+/)
      .map((pair) => pair.split(/=(.*)/s).slice(0, 2) as [string, string]),
  )
}

export const loadImages = (name: string, archives: readonly string[]): Promise<string> =>
  script('load.sh', { args: archives, env: { CLUSTER: name } })

/** Namespace of the operator. */
export const systemNamespace = 'humanizer-system'

/** `helm upgrade --install` of the chart with these images and further values (`key=value`); resolves once the operator is ready. */
export async function installChart(
  cluster: Cluster,
  operatorImage: string,
  trainerImage: string,
  values: readonly string[] = [],
): Promise<void> {
  const image = (component: string, reference: string): string => {
    const colon = reference.lastIndexOf(':')
    return `${component}.image.repository=${reference.slice(0, colon)},${component}.image.tag=${reference.slice(colon + 1)}`
  }
  await helm(cluster, [
    ...['upgrade', '--install', 'humanizer', join(import.meta.dirname, '..', '..', 'charts', 'humanizer')],
    ...['--namespace', systemNamespace, '--create-namespace', '--wait', '--timeout', '180s'],
    ...['--set', image('operator', operatorImage), '--set', image('trainer', trainerImage)],
    ...values.flatMap((value) => ['--set', value]),
  ])
}

/** Resolves with the first defined value that `probe` gives; rejects after `seconds` with what was awaited and last seen. */
export async function waitFor<T>(
  what: string,
  seconds: number,
  probe: () => Promise<T | undefined>,
  everyMilliseconds = 500,
): Promise<T> {
  const end = Date.now() + seconds * 1000
  let last: unknown
  for (;;) {
    try {
      const value = await probe()
      if (value !== undefined) return value
    } catch (error) {
      last = error
    }
    if (Date.now() > end)
      throw new Error(`gave up after ${seconds} s waiting for: ${what}${last ? ` (last error: ${last})` : ''}`)
    await new Promise((resolve) => setTimeout(resolve, everyMilliseconds))
  }
}
