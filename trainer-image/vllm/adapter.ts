import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import type { DesiredAdapter, Vllm } from '#proto/humanizer/trainer/v1/serving.ts'
import { readCanary } from '../evaluate/canary.ts'
import { adapterConfigName } from '../model/peft.ts'
import { adapterFolder, promote } from '../serve/adapters.ts'
import type { Closable, LoadedAdapter } from '../serve/lease.ts'
import { CallRefused } from '../service/errors.ts'
import { type AdapterBase, chatTemplateName } from '../storage/adapter-identity.ts'
import { hexOf } from '../storage/digest.ts'
import type { OwnerRecord } from '../storage/owners.ts'
import { type Manifest, SealBroken, verifySealed } from '../storage/sealed.ts'
import { proveCanary } from './canary.ts'
import type { VllmClient, VllmModel } from './client.ts'

/** An adapter that vLLM has under a name of its own. */
export interface VllmAdapter extends Closable {
  readonly name: string
  readonly digest: string
  /** Folder that vLLM reads it from. */
  readonly path: string
}

/** The digest is the name, so a name never stands for other bytes. */
export const adapterName = (digest: string): string => `adapter-${hexOf(digest)}`

export interface Loader {
  readonly dataDir: string
  readonly client: VllmClient
  readonly vllm: Vllm
  /** Digest of the base that vLLM was started with. */
  readonly baseDigest: string
  readonly owner: OwnerRecord | undefined
  readonly log: Logger
}

/**
 * Promotes the adapter, reads it through, and has vLLM load it. It counts as loaded when vLLM lists the name with this very folder and has
 * computed with it one token and the losses of its canary set; else it is unloaded again. DATA_LOSS for changed bytes, FAILED_PRECONDITION for
 * another base, a rank above --max-lora-rank, other losses, or vLLM's own no.
 */
export async function loadInto(loader: Loader, desired: DesiredAdapter): Promise<LoadedAdapter<VllmAdapter>> {
  const { dataDir, client, vllm, owner, log } = loader
  await promote(dataDir, desired, owner)
  const path = adapterFolder(dataDir, desired.digest)
  const manifest = await verifyAdapter(path, desired.digest)
  const base = manifest.base as Partial<AdapterBase> | undefined
  if (base?.digest !== loader.baseDigest)
    throw new CallRefused(
      status.FAILED_PRECONDITION,
      `the adapter was trained on base ${base?.digest}, this pod serves base ${loader.baseDigest}`,
    )
  await checkRank(path, vllm)
  const canary = readCanary(manifest.canary, path)
  const name = adapterName(desired.digest)
  const close = () => client.unload(name).catch((error) => log.warn({ err: error, name }, 'cannot unload an adapter'))
  await loadUnlessThere(client, name, path)
  try {
    await proveToken(client, name)
    if (canary) await proveCanary(client, name, vllm, canary, base.quantization)
    else log.warn({ digest: desired.digest }, 'sealed without a canary set: what it computes is not compared')
  } catch (error) {
    await close()
    throw error
  }
  const { templateDate } = manifest
  const chatTemplate = manifest.files[chatTemplateName] && (await readFile(join(path, chatTemplateName), 'utf8'))
  return {
    adapter: { name, digest: desired.digest, path, close: () => void close() },
    ...(typeof templateDate === 'string' && { templateDate }),
    ...(chatTemplate && { chatTemplate }),
  }
}

/** The manifest of an adapter whose bytes are all as it says, and which is the one that is meant. */
export async function verifyAdapter(path: string, digest: string): Promise<Manifest> {
  const manifest = await verifySealed(path)
  if (manifest.digest !== digest) throw new SealBroken(`${path} holds ${manifest.digest}, expected ${digest}`)
  return manifest
}

/** Before vLLM is asked: what it says of it is an internal error. */
async function checkRank(path: string, { maxLoraRank }: Vllm): Promise<void> {
  const { r } = JSON.parse(await readFile(join(path, adapterConfigName), 'utf8')) as { r: number }
  if (r > maxLoraRank)
    throw new CallRefused(
      status.FAILED_PRECONDITION,
      `the adapter has rank ${r}, expected at most spec.serving.vllm.maxLoraRank ${maxLoraRank}`,
    )
}

export const isLoaded = (models: readonly VllmModel[], name: string, path: string): boolean =>
  models.some(({ id, root }) => id === name && root === path)

/** One that is there already is of an earlier life of this container, unless it is just being unloaded. */
export async function loadUnlessThere(client: VllmClient, name: string, path: string): Promise<void> {
  await client.unloaded(name)
  if (!isLoaded(await client.models(), name, path)) {
    await client.load(name, path).catch(async (error) => {
      if (!isLoaded(await client.models(), name, path)) throw error
    })
  }
  const models = await client.models()
  if (isLoaded(models, name, path)) return
  const listed = models.map(({ id, root }) => `${id} (${root})`).join(', ')
  throw new CallRefused(
    status.FAILED_PRECONDITION,
    `vLLM does not list ${name} of ${path} after loading it; it has ${listed}`,
  )
}

/** One token: what vLLM lists it may still fail to compute. */
export async function proveToken(client: VllmClient, model: string): Promise<void> {
  await client.models() // whether it is there at all, in these words
  const signal = AbortSignal.timeout(60_000)
  const answer = await client.post('/v1/completions', { model, prompt: 'The', max_tokens: 1, temperature: 0 }, signal)
  const text = await answer.text()
  if (!answer.ok)
    throw new CallRefused(
      status.FAILED_PRECONDITION,
      `vLLM answered ${answer.status} to one token of ${model}: ${text.slice(0, 500)}`,
    )
}
