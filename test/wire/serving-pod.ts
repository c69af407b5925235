import type { ChildProcess } from 'node:child_process'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { credentials, Metadata } from '@grpc/grpc-js'
import { SignJWT } from 'jose'
import { DesiredAdapter, ServeConfig, ServingState } from '#proto/humanizer/trainer/v1/serving.ts'
import { ServingServiceClient } from '#proto/humanizer/trainer/v1/serving_service.ts'
import { sumModel } from '../../trainer-image/model/identity.ts'
import { openModel } from '../../trainer-image/model/open.ts'
import { type AdapterConfig, expectedAdapterTensors, writeAdapter } from '../../trainer-image/model/peft.ts'
import type { AdapterTensor } from '../../trainer-image/native/index.ts'
import { type AdapterBase, adapterDigest } from '../../trainer-image/storage/adapter-identity.ts'
import { hexOf } from '../../trainer-image/storage/digest.ts'
import { seal } from '../../trainer-image/storage/sealed.ts'
import { spawnTied } from '../child.ts'

const main = fileURLToPath(new URL('../../trainer-image/main.ts', import.meta.url))
const fixture = fileURLToPath(new URL('../fixtures/tiny-llama', import.meta.url))

export const modelName = 'prose'
const podUid = 'pod-under-test'
const ownerUid = 'release-under-test'
export const quantization: AdapterBase['quantization'] = { type: 'NF4', blockSize: 64, doubleQuantization: true }

/** A sealed checkpoint of a run, as the trainer leaves it. */
export interface Checkpoint {
  readonly digest: string
  /** Relative to the claim. */
  readonly path: string
}

/** A claim with the tiny model, and a pod's emptyDir and ConfigMap beside it. */
export class Claim {
  readonly root: string
  readonly base: AdapterBase
  readonly dataDir: string
  /** Folder of the base. */
  readonly model: string
  readonly stateDir: string
  readonly desiredFile: string
  readonly keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject } = generateKeyPairSync('ed25519')

  /** `change` gets the folder of the model before it is summed. */
  static async create(change: (model: string) => Promise<void> = async () => {}): Promise<Claim> {
    const root = await mkdtemp(join(tmpdir(), 'humanizer-serving-'))
    const model = join(root, 'data/models/tiny-llama')
    await mkdir(join(root, 'state'))
    await cp(fixture, model, { recursive: true })
    await change(model)
    return new Claim(root, { digest: (await sumModel(await openModel(model))).digest, quantization })
  }

  private constructor(root: string, base: AdapterBase) {
    this.root = root
    this.base = base
    this.dataDir = join(root, 'data')
    this.model = join(this.dataDir, 'models/tiny-llama')
    this.stateDir = join(root, 'state')
    this.desiredFile = join(root, 'desired.json')
  }

  /**
   * An adapter strong enough to change the answers; equal seeds give equal adapters. `facts` go into its manifest, among them the
   * losses that `canary` says were measured.
   */
  async checkpoint(
    run: string,
    seed: number,
    made: {
      base?: AdapterBase
      templateDate?: string
      chatTemplate?: string
      canary?: (config: AdapterConfig, tensors: readonly AdapterTensor[]) => Promise<unknown>
    } = {},
  ) {
    const { chatTemplate, canary, ...facts } = made
    const { base = this.base } = facts
    const path = `runs/test/${run}/uid/checkpoint-${seed}`
    const directory = join(this.dataDir, path)
    const { architecture } = await openModel(fixture)
    const config = {
      baseModel: 'tiny-llama',
      rank: 4,
      alpha: 16,
      dropout: 0,
      targetModules: ['q_proj', 'v_proj', 'down_proj'] as const,
      rankStabilized: false,
    }
    let state = seed
    const random = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state / 2 ** 32 - 0.5
    }
    const tensors = [...expectedAdapterTensors(architecture, config)].map(([name, shape]) => ({
      name,
      shape,
      data: Float32Array.from({ length: shape[0] * shape[1] }, random),
    }))
    await mkdir(directory, { recursive: true })
    await writeAdapter(directory, { config, tensors })
    await cp(join(fixture, 'tokenizer.json'), join(directory, 'tokenizer.json'))
    if (chatTemplate) await writeFile(join(directory, 'chat_template.jinja'), chatTemplate)
    await writeFile(join(directory, 'optimizer.safetensors'), 'only needed to train on')
    const { digest } = await seal(directory, (files) => adapterDigest(files, base), {
      ...facts,
      base,
      canary: await canary?.(config, tensors),
    })
    return { digest, path } satisfies Checkpoint
  }

  adapterFile(digest: string, name: string): string {
    return join(this.dataDir, 'adapters', hexOf(digest), name)
  }

  /** What the ConfigMap says. */
  async want(generation: number, adapter: Checkpoint | undefined): Promise<void> {
    await writeFile(this.desiredFile, JSON.stringify(DesiredAdapter.toJSON(desired(generation, adapter))))
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true, force: true })
  }
}

export function desired(generation: number, adapter: Checkpoint | undefined): DesiredAdapter {
  const { digest = '', path = '' } = adapter ?? {}
  const format = { sample: 'Denoise', systemPrompt: 'Rewrite.', userTemplate: 'Text: {text}' }
  return { generation, digest, sourcePath: path, format, warmSeconds: 0 }
}

/** The real process: `node main.ts serve`. */
export class ServingPod {
  readonly url: string
  readonly #process: ChildProcess
  readonly #client: ServingServiceClient
  readonly #claim: Claim

  /** Resolves once it listens; the base may still be loading. */
  static async start(claim: Claim, changes: Partial<ServeConfig> = {}): Promise<ServingPod> {
    const config = ServeConfig.fromPartial({
      owner: { namespace: 'test', name: 'release', uid: ownerUid },
      trust: { publicKey: claim.keys.publicKey.export({ type: 'spki', format: 'pem' }) as string, port: 0 },
      model: { path: 'models/tiny-llama', digest: claim.base.digest, name: 'tiny-llama' },
      quantization: { ...quantization, computeDtype: 'Auto' },
      modelName,
      httpPort: 0,
      backend: 'CPU',
      ...changes,
    })
    const configFile = join(claim.root, 'config.json')
    await writeFile(configFile, JSON.stringify(ServeConfig.toJSON(config)))
    const paths = ['--config', configFile, '--data', claim.dataDir, '--state', claim.stateDir]
    const more = ['--desired', claim.desiredFile, '--termination-log', join(claim.root, 'termination-log')]
    const child = spawnTied(process.execPath, [main, 'serve', ...paths, ...more], {
      env: { ...process.env, POD_UID: podUid },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    for await (const line of createInterface({ input: child.stdout! })) {
      const entry = JSON.parse(line) as { http?: number; grpc?: number }
      if (entry.http && entry.grpc) return new ServingPod(child, claim, entry.http, entry.grpc)
    }
    throw new Error(`the pod ended with ${child.exitCode} before it listened`)
  }

  private constructor(child: ChildProcess, claim: Claim, http: number, grpc: number) {
    this.#process = child
    this.#claim = claim
    this.url = `http://127.0.0.1:${http}`
    child.stdout?.resume()
    const insecure = credentials.createSsl(null, null, null, {
      checkServerIdentity: () => undefined,
      rejectUnauthorized: false,
    })
    // Node warns about TLS to an IP address without a name.
    this.#client = new ServingServiceClient(`127.0.0.1:${grpc}`, insecure, { 'grpc.ssl_target_name_override': 'pod' })
  }

  /** `signed` is what the token says; a string is sent in its place. */
  async activate(wanted: DesiredAdapter, signed: number | string = wanted.generation): Promise<ServingState> {
    const metadata = await this.#metadata('/humanizer.trainer.v1.ServingService/Activate', signed)
    return new Promise((resolve, reject) =>
      this.#client.activate({ desired: wanted }, metadata, (error, answer) =>
        error ? reject(error) : resolve(answer.state!),
      ),
    )
  }

  async deactivate(generation: number, signed = generation): Promise<ServingState> {
    const metadata = await this.#metadata('/humanizer.trainer.v1.ServingService/Deactivate', signed)
    return new Promise((resolve, reject) =>
      this.#client.deactivate({ generation }, metadata, (error, answer) =>
        error ? reject(error) : resolve(answer.state!),
      ),
    )
  }

  async #metadata(method: string, signed: number | string): Promise<Metadata> {
    const metadata = new Metadata()
    metadata.set('authorization', `Bearer ${typeof signed === 'string' ? signed : await this.#token(method, signed)}`)
    return metadata
  }

  #token(method: string, generation: number): Promise<string> {
    return new SignJWT({ method, attempt: 0, generation })
      .setProtectedHeader({ alg: 'EdDSA' })
      .setAudience(podUid)
      .setSubject(ownerUid)
      .setExpirationTime('30s')
      .sign(this.#claim.keys.privateKey)
  }

  async readiness(): Promise<{ status: number; state: ServingState }> {
    const answer = await fetch(`${this.url}/readyz`)
    return { status: answer.status, state: ServingState.fromJSON(await answer.json()) }
  }

  /** Waits for a state; fails after 20 s. */
  async until(what: string, holds: (status: number, state: ServingState) => boolean): Promise<ServingState> {
    const deadline = Date.now() + 20_000
    for (;;) {
      const { status, state } = await this.readiness()
      if (holds(status, state)) return state
      if (Date.now() > deadline) throw new Error(`not ${what} after 20 s: ${status} ${JSON.stringify(state)}`)
      await sleep(50)
    }
  }

  /** The first choice of a greedy answer, and the adapter that its header names. */
  async say(text: string, options: object = {}): Promise<{ status: number; text: string; digest: string }> {
    const answer = await fetch(`${this.url}/v1/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: modelName, prompt: text, max_tokens: 24, temperature: 0, ...options }),
    })
    const body = (await answer.json()) as { choices?: { text: string }[] }
    const digest = answer.headers.get('x-humanizer-adapter-digest') ?? ''
    return { status: answer.status, text: body.choices?.[0]?.text ?? JSON.stringify(body), digest }
  }

  /** False once the process has ended. */
  get lives(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null
  }

  /** Resolves with the exit code. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<number | null> {
    this.#client.close()
    if (this.#process.exitCode !== null || this.#process.signalCode) return this.#process.exitCode
    const ended = once(this.#process, 'exit')
    this.#process.kill(signal)
    const [code] = (await ended) as [number | null]
    return code
  }
}
