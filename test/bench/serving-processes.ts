/** The kubelet of a benchmark: every pod of a release is the real server, a process of its own on an address of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ApiClient } from '../../operator/kube/client.ts'
import type { KubeObject } from '../../operator/kube/cluster.ts'
import { reportRunning } from '../apiserver/serving-stand-in.ts'

const main = fileURLToPath(new URL('../../trainer-image/main.ts', import.meta.url))
/** A kubelet takes up to a minute to bring a changed ConfigMap to a pod; signed calls are what is fast. */
const filesMilliseconds = 60_000

interface Pod extends KubeObject {
  readonly spec: {
    readonly volumes: readonly { readonly name: string; readonly configMap?: { readonly name: string } }[]
  }
}

interface Running {
  readonly child: ChildProcess
  readonly ip: string
  readonly folder: string
  ready: boolean
  writtenAt: number
}

export class ServingProcesses {
  readonly #pods = new Map<string, Running>()
  readonly #client: ApiClient
  readonly #path: string
  readonly #folder: string
  readonly #dataDir: string
  readonly #port: number
  readonly #loop: Promise<void>
  #stopped = false

  /** `dataDir` is the claim; everything else of the pods is written into `folder`. */
  constructor(client: ApiClient, namespace: string, folder: string, dataDir: string, port: number) {
    this.#client = client
    this.#path = `/api/v1/namespaces/${namespace}`
    this.#folder = folder
    this.#dataDir = dataDir
    this.#port = port
    this.#loop = this.#run()
  }

  /** Where the ready pods answer: what a Service leads to. */
  get urls(): string[] {
    return [...this.#pods.values()].filter(({ ready }) => ready).map(({ ip }) => `http://${ip}:${this.#port}`)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#loop
    for (const { child } of this.#pods.values()) child.kill('SIGKILL')
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#pass().catch((error) => console.error(error))
      await sleep(200)
    }
  }

  async #pass(): Promise<void> {
    const { items } = await this.#client.request<{ items: Pod[] }>('GET', `${this.#path}/pods`, {
      query: { labelSelector: 'humanizer.dev/release' },
    })
    for (const pod of items) {
      const uid = pod.metadata.uid ?? ''
      const running = this.#pods.get(uid) ?? (await this.#start(pod))
      this.#pods.set(uid, running)
      if (Date.now() - running.writtenAt > filesMilliseconds) await this.#write(pod, running, 'desired')
      if (running.ready) continue
      const answer = await fetch(`http://${running.ip}:${this.#port}/readyz`).catch(() => undefined)
      if (!answer?.ok) continue
      running.ready = true
      await this.#report(pod, running)
    }
  }

  async #start(pod: Pod): Promise<Running> {
    const uid = pod.metadata.uid ?? ''
    const ip = `127.77.${process.pid & 255}.${this.#pods.size + 2}`
    const folder = join(this.#folder, uid)
    await mkdir(join(folder, 'state'), { recursive: true })
    const files = { folder, writtenAt: 0 }
    for (const volume of ['config', 'desired'] as const) await this.#write(pod, files, volume)
    const paths = ['--config', join(folder, 'config.json'), '--desired', join(folder, 'desired.json')]
    const more = ['--data', this.#dataDir, '--state', join(folder, 'state'), '--termination-log', join(folder, 'log')]
    const child = spawn(process.execPath, [main, 'serve', ...paths, ...more, '--host', ip], {
      env: { ...process.env, POD_UID: uid, LOG_LEVEL: 'warn' },
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const running = { child, ip, ready: false, ...files }
    await this.#report(pod, running)
    return running
  }

  /** Brings the ConfigMap that the pod mounts as `volume` to its file. */
  async #write({ spec }: Pod, files: { readonly folder: string; writtenAt: number }, volume: string): Promise<void> {
    const name = spec.volumes.find((each) => each.name === volume)?.configMap?.name
    const path = `${this.#path}/configmaps/${name}`
    const { data } = await this.#client.request<{ data: Record<string, string> }>('GET', path)
    const file = join(files.folder, `${volume}.json`)
    await writeFile(`${file}.new`, data[`${volume}.json`] ?? '')
    await rename(`${file}.new`, file)
    files.writtenAt = Date.now()
  }

  #report({ metadata }: Pod, { ip, ready }: Running): Promise<void> {
    const startedAt = metadata.creationTimestamp ?? new Date().toISOString()
    return reportRunning(this.#client, `${this.#path}/pods/${metadata.name}`, { ip, startedAt, ready })
  }
}
