import type { ChildProcess } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnTied } from '../child.ts'
import { until } from './api-server.ts'

export interface OperatorOptions {
  /** Program to run, relative to the repository: build/operator.mjs, or the tests' own. */
  readonly program: string
  readonly kubeConfigFile: string
  readonly namespace: string
  readonly podName: string
  /** Further environment variables. */
  readonly env?: Readonly<Record<string, string>>
}

/** An operator as a process of its own. Its log lines are kept; ask its health and metrics over HTTP. */
export class OperatorProcess implements AsyncDisposable {
  readonly exited: Promise<number | null>
  readonly log: Record<string, unknown>[] = []
  readonly #folder = mkdtempSync(join(tmpdir(), 'humanizer-operator-'))
  readonly #child: ChildProcess
  #stderr = ''

  constructor({ program, kubeConfigFile, namespace, podName, env }: OperatorOptions) {
    const key = join(this.#folder, 'private.pem')
    const { privateKey } = generateKeyPairSync('ed25519')
    writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    this.#child = spawnTied(process.execPath, [join(import.meta.dirname, '../..', program)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
        KUBECONFIG: kubeConfigFile,
        POD_NAMESPACE: namespace,
        POD_NAME: podName,
        WATCH_NAMESPACES: namespace,
        TRAINER_IMAGE: 'trainer:test',
        SIGNING_KEY_FILE: key,
        METRICS_PORT: '0',
        HEALTH_PORT: '0',
        ...env,
      },
    })
    let rest = ''
    this.#child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) this.log.push(JSON.parse(line))
    })
    this.#child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
      this.#stderr += chunk
    })
    this.exited = new Promise((resolve) => this.#child.once('exit', (code) => resolve(code)))
  }

  /** What it printed at the end, for the message of a failed assertion. */
  get lastWords(): string {
    return `${this.#stderr}\n${JSON.stringify(this.log.at(-1))}`
  }

  said(message: string): Record<string, unknown> | undefined {
    return this.log.find(({ msg }) => msg === message)
  }

  /** Body of a page on the health or the metrics port. */
  async page(port: 'health' | 'metrics', path: string): Promise<{ code: number; body: string }> {
    const started = this.said('operator started')
    if (!started) return { code: 0, body: '' }
    const response = await fetch(`http://127.0.0.1:${started[port]}${path}`)
    return { code: response.status, body: await response.text() }
  }

  async ready(): Promise<void> {
    await until('the operator is ready', async () => {
      if (this.#child.exitCode !== null) throw new Error(`exited with ${this.#child.exitCode}\n${this.lastWords}`)
      return (await this.page('health', '/readyz')).code === 200
    })
  }

  async leads(limitSeconds?: number): Promise<number> {
    return until('the operator leads', () => this.said('leading') !== undefined, limitSeconds)
  }

  /** Value of one sample, e.g. `humanizer_leader`. */
  async metric(sample: string): Promise<number | undefined> {
    const { body } = await this.page('metrics', '/metrics')
    const line = body.split('\n').find((line) => line.startsWith(`${sample} `))
    return line === undefined ? undefined : Number(line.slice(sample.length))
  }

  signal(signal: 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal('SIGKILL')
    await this.exited
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
