/** A real kube-apiserver on a real etcd, as plain processes on 127.0.0.1, for the tests of this folder. */
import type { ChildProcess } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { get } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { load } from 'js-yaml'
import { ApiClient, loadKubeConfig } from '../../operator/kube/client.ts'
import { binDir } from '../cache.ts'
import { spawnTied } from '../child.ts'
import { freePort } from '../port.ts'

const TOKEN = 'test-admin'
const AUDIT_POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived', 'ResponseStarted'],
  rules: [{ level: 'Metadata', users: ['admin'] }, { level: 'None' }],
}
/** Small heaps: collecting them takes a sixth of the processor time of kube-apiserver. */
const garbage = { GOGC: '400', GOMEMLIMIT: '600MiB' }
const crdsFolder = new URL('../../crds/', import.meta.url)

export interface ApiServerOptions {
  /** Further flags of kube-apiserver, e.g. `--watch-cache=false`. */
  readonly flags?: readonly string[]
  /** Also run kube-controller-manager: garbage collection, Jobs, Deployments. */
  readonly controllerManager?: boolean
  /** Without the project's CRDs: the test brings them. */
  readonly bare?: boolean
}

/** One request that the API server carried out or refused, from its audit log. */
export interface AuditedRequest {
  readonly verb: string
  readonly user: { readonly username: string }
  readonly objectRef?: {
    readonly resource: string
    readonly subresource?: string
    readonly namespace?: string
    readonly name?: string
  }
  readonly responseStatus?: { readonly code: number }
}

/** Starts it (about 6 s), with the project's CRDs installed unless `bare`. Stop it with stop(), or with `await using`. */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const server = new ApiServer(options)
  try {
    await server.launch()
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

/** Where one that runs is found by other processes. */
export interface Address {
  readonly folder: string
  readonly port: number
}

export class ApiServer implements AsyncDisposable {
  readonly #folder: string
  readonly #options: ApiServerOptions
  readonly #processes = new Map<string, ChildProcess>()
  readonly #attached: boolean
  #etcdPort = 0
  #port = 0
  #namespaces = 0

  /** One to launch(), or with `running` one that another process launched. */
  constructor(options: ApiServerOptions, running?: Address) {
    this.#options = options
    this.#attached = running !== undefined
    this.#folder = running?.folder ?? mkdtempSync(join(tmpdir(), 'humanizer-apiserver-'))
    this.#port = running?.port ?? 0
  }

  get address(): Address {
    return { folder: this.#folder, port: this.#port }
  }

  /** Port of the API server on 127.0.0.1; the same after a restart. */
  get port(): number {
    return this.#port
  }

  /** A kubeconfig of an administrator; `port` leads through a proxy of the test instead. */
  kubeConfig({ port = this.#port, token = TOKEN }: { port?: number; token?: string } = {}): string {
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: 'test',
          cluster: {
            server: `https://127.0.0.1:${port}`,
            'certificate-authority': join(this.#folder, 'apiserver.crt'),
          },
        },
      ],
      users: [{ name: 'admin', user: { token } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
      'current-context': 'test',
    })
  }

  /** The same as a file, for a process of its own. */
  kubeConfigFile(options?: { port?: number; token?: string }): string {
    const path = join(this.#folder, `kubeconfig-${options?.port ?? this.#port}-${process.pid}`)
    writeFileSync(`${path}.new`, this.kubeConfig(options))
    renameSync(`${path}.new`, path) // an operator that starts meanwhile reads a whole file
    return path
  }

  client(options?: { port?: number; token?: string; timeoutMs?: number }): ApiClient {
    return new ApiClient(loadKubeConfig({ text: this.kubeConfig(options) }), { timeoutMs: options?.timeoutMs ?? 4000 })
  }

  /** A new namespace with a name of its own. */
  async namespace(): Promise<string> {
    const name = `test-${process.pid}-${++this.#namespaces}`
    const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
    await this.client().request('POST', '/api/v1/namespaces', { body })
    return name
  }

  /** Installs CustomResourceDefinitions and waits until they are served. */
  async installCrds(crds: readonly object[]): Promise<void> {
    const client = this.client()
    const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
    for (const crd of crds) await client.request('POST', path, { body: crd })
    for (const crd of crds as { metadata: { name: string } }[])
      await until(`${crd.metadata.name} is served`, async () => {
        const { status } = await client.request<{ status?: { conditions?: { type: string; status: string }[] } }>(
          'GET',
          `${path}/${crd.metadata.name}`,
        )
        return status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True') ?? false
      })
  }

  async launch(): Promise<void> {
    const folder = this.#folder
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    writeFileSync(join(folder, 'sa.key'), privateKey.export({ type: 'pkcs1', format: 'pem' }))
    writeFileSync(join(folder, 'sa.pub'), publicKey.export({ type: 'spki', format: 'pem' }))
    writeFileSync(join(folder, 'tokens.csv'), `${TOKEN},admin,admin,system:masters\nnobody,nobody,nobody\n`)
    writeFileSync(join(folder, 'audit.yaml'), JSON.stringify(AUDIT_POLICY))
    this.#etcdPort = await freePort()
    this.#port = await freePort()
    const client = `http://127.0.0.1:${this.#etcdPort}`
    const peer = `http://127.0.0.1:${await freePort()}`
    // biome-ignore format: one flag and its value a line
    this.#start('etcd', [
      '--name', 'e', '--data-dir', join(folder, 'etcd'), '--unsafe-no-fsync', '--log-level', 'warn',
      '--listen-client-urls', client, '--advertise-client-urls', client,
      '--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `e=${peer}`,
    ])
    await this.startApi()
    if (!this.#options.bare) await this.installCrds(projectCrds())
    if (this.#options.controllerManager) await this.#startControllerManager()
  }

  /** Starts kube-apiserver again after kill(). Resolves when it is ready. */
  async startApi(): Promise<void> {
    const folder = this.#folder
    // biome-ignore format: one flag and its value a line
    this.#start('kube-apiserver', [
      '--etcd-servers', `http://127.0.0.1:${this.#etcdPort}`,
      '--bind-address', '127.0.0.1', '--secure-port', String(this.#port), '--cert-dir', folder,
      '--service-cluster-ip-range', '10.96.0.0/24', '--token-auth-file', join(folder, 'tokens.csv'),
      '--service-account-issuer', 'https://kubernetes.default.svc',
      '--service-account-key-file', join(folder, 'sa.pub'), '--service-account-signing-key-file', join(folder, 'sa.key'),
      '--authorization-mode', 'RBAC', '--disable-admission-plugins', 'ServiceAccount', '--profiling=false',
      '--audit-policy-file', join(folder, 'audit.yaml'), '--audit-log-path', join(folder, 'audit.log'),
      '--audit-log-mode', 'blocking', ...(this.#options.flags ?? []),
    ])
    await until('the API server is ready', async () => {
      this.#assertAlive('etcd')
      this.#assertAlive('kube-apiserver')
      return existsSync(join(folder, 'apiserver.crt')) && this.#ready()
    })
  }

  /** What was asked of the API server so far, in order, by the administrator's token: reads, watches and writes. */
  audited(): AuditedRequest[] {
    const lines = readFileSync(join(this.#folder, 'audit.log'), 'utf8').trim().split('\n')
    return lines.map((line) => JSON.parse(line) as AuditedRequest)
  }

  /** SIGKILL to kube-apiserver; etcd keeps its data. */
  kill(): Promise<void> {
    return this.#end('kube-apiserver')
  }

  /** Compacts etcd at its newest revision: every older resourceVersion is gone. */
  async compact(): Promise<void> {
    const kv = `http://127.0.0.1:${this.#etcdPort}/v3/kv`
    const range = await post(`${kv}/range`, { key: Buffer.from('/').toString('base64') })
    await post(`${kv}/compaction`, { revision: (range as { header: { revision: string } }).header.revision })
  }

  async stop(): Promise<void> {
    if (this.#attached) return
    for (const name of [...this.#processes.keys()].reverse()) await this.#end(name)
    rmSync(this.#folder, { recursive: true, force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #startControllerManager(): Promise<void> {
    const folder = this.#folder
    const kubeConfig = this.kubeConfigFile()
    // biome-ignore format: one flag and its value a line
    this.#start('kube-controller-manager', [
      '--kubeconfig', kubeConfig, '--authentication-kubeconfig', kubeConfig, '--authorization-kubeconfig', kubeConfig,
      '--bind-address', '127.0.0.1', '--secure-port', String(await freePort()), '--cert-dir', join(folder, 'kcm'),
      '--service-account-private-key-file', join(folder, 'sa.key'), '--leader-elect=false', '--profiling=false',
      '--kube-api-qps', '500', '--kube-api-burst', '1000',
    ])
  }

  #start(name: string, args: readonly string[]): void {
    const log = openSync(join(this.#folder, `${name}.log`), 'a')
    const child = spawnTied(join(binDir, name), args, {
      stdio: ['ignore', log, log],
      env: { ...process.env, ...garbage },
    })
    closeSync(log)
    child.on('error', () => undefined) // told by #assertAlive
    this.#processes.set(name, child)
  }

  async #end(name: string): Promise<void> {
    const child = this.#processes.get(name)
    this.#processes.delete(name)
    if (!child || !alive(child)) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL') // SIGTERM would drain watches for a minute
    await ended
  }

  #ready(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const ca = readFileSync(join(this.#folder, 'apiserver.crt'))
    const headers = { authorization: `Bearer ${TOKEN}` }
    get({ host: '127.0.0.1', port: this.#port, path: '/readyz', ca, headers, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    }).on('error', () => resolve(false))
    return promise
  }

  #assertAlive(name: string): void {
    const child = this.#processes.get(name)
    if (child && alive(child)) return
    const log = readFileSync(join(this.#folder, `${name}.log`), 'utf8')
      .split('\n')
      .slice(-15)
      .join('\n')
    throw new Error(`${name} ended (is it in ${binDir}?)\n${log}`)
  }
}

const projectCrds = (): object[] =>
  readdirSync(crdsFolder)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => load(readFileSync(new URL(file, crdsFolder), 'utf8')) as object)

const alive = (child: ChildProcess): boolean =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null

async function post(url: string, body: unknown): Promise<unknown> {
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) })
  if (!response.ok) throw new Error(`POST ${url}: ${response.status} ${await response.text()}`)
  return response.json()
}

/** Waits until `what` holds, asking every 50 ms, later up to every 250 ms; throws after the limit. Resolves to the milliseconds it took. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  limitSeconds = 180,
): Promise<number> {
  const started = performance.now()
  for (let pause = 50; !(await holds()); pause = Math.min(250, pause * 1.2)) {
    if (performance.now() - started > limitSeconds * 1000) throw new Error(`not within ${limitSeconds} s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
  return performance.now() - started
}
