import { constants, copyFile, link, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { status } from '@grpc/grpc-js'
import type { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import { JobFailure } from '../job/failure.ts'
import { readAdapter } from '../model/peft.ts'
import type { Adapter, Model } from '../native/index.ts'
import { CallRefused } from '../service/errors.ts'
import { type AdapterBase, adapterDigest, adapterFiles } from '../storage/adapter-identity.ts'
import { isTemporary, syncDirectory, temporaryName } from '../storage/atomic.ts'
import { hexOf } from '../storage/digest.ts'
import { claimFolder, type OwnerRecord } from '../storage/owners.ts'
import { type Manifest, readManifest, SealBroken, seal, verifySealed } from '../storage/sealed.ts'

import { DEFAULT_BLOCK_SIZE } from './base.ts'

/** adapters/<hex> below the claim's root: the only place that serving reads adapters from. */
export const adapterFolder = (dataDir: string, digest: string): string => join(dataDir, 'adapters', hexOf(digest))

/**
 * Makes adapters/<hex> from the sealed checkpoint at `sourcePath`, by hard links where the volume has them. Does
 * nothing when it is there already; two pods may do it at once. NOT_FOUND when neither folder is there, DATA_LOSS when
 * the checkpoint's bytes or identity are not what is asked for; nothing is left behind then.
 */
export async function promote(
  dataDir: string,
  { digest, sourcePath }: DesiredAdapter,
  owner?: OwnerRecord,
): Promise<void> {
  const target = adapterFolder(dataDir, digest)
  await claimFolder(target, owner)
  if (await readManifest(target)) return
  const source = join(dataDir, sourcePath)
  const sealed = sourcePath === '' ? undefined : await readManifest(source)
  if (!sealed) {
    const tried =
      sourcePath === '' ? 'no checkpoint is named to promote it from' : `${sourcePath} is not a sealed checkpoint`
    throw new JobFailure('NotFound', `adapters/${hexOf(digest)} does not exist and ${tried}`)
  }
  checkIdentity(sealed, digest, sourcePath)
  const temporary = join(dirname(target), temporaryName(hexOf(digest)))
  await mkdir(temporary, { recursive: true })
  try {
    for (const name of adapterFiles(sealed.files)) await linkOrCopy(join(source, name), join(temporary, name))
    const copied = await seal(temporary, digest, { base: baseOf(sealed, sourcePath) })
    checkIdentity(copied, digest, sourcePath)
    await claimFolder(temporary, owner)
    await renameUnlessThere(temporary, target)
    await claimFolder(target, owner)
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
  await syncDirectory(dirname(target))
}

/** Removes what promotions that were killed left behind. An hour is far longer than any promotion takes. */
export async function sweepPromotions(dataDir: string, olderThanMilliseconds: number = 3_600_000): Promise<void> {
  const adapters = join(dataDir, 'adapters')
  const names = await readdir(adapters).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  for (const name of names.filter(isTemporary)) {
    const { mtimeMs } = await stat(join(adapters, name)).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }))
    if (Date.now() - mtimeMs > olderThanMilliseconds) await rm(join(adapters, name), { recursive: true, force: true })
  }
}

/** What an adapter must fit: the base in this pod's memory. */
export interface ServingBase {
  readonly model: Model
  readonly identity: AdapterBase
  /** A token to prove with. */
  readonly probe: number
}

/**
 * Reads adapters/<hex> again byte by byte, loads it and proves one token. DATA_LOSS for changed bytes,
 * FAILED_PRECONDITION for an adapter of another base or quantisation or one whose logits are not finite.
 */
export async function loadAdapter(dataDir: string, digest: string, base: ServingBase): Promise<Adapter> {
  const folder = adapterFolder(dataDir, digest)
  const manifest = await verifySealed(folder)
  checkIdentity(manifest, digest, folder)
  checkBase(baseOf(manifest, folder), base.identity)
  const { config, tensors } = await readAdapter(folder, base.model.architecture)
  // The seed only matters to dropout, which serving has none of.
  const adapter = await base.model.loadAdapter({ ...config, seed: 0 }, tensors)
  try {
    await prove(base.model, adapter, base.probe)
  } catch (error) {
    adapter.close()
    throw error
  }
  return adapter
}

/** One token through the whole model: every logit must be finite. */
export async function prove(model: Model, adapter: Adapter | undefined, probe: number): Promise<void> {
  const sequence = model.openSequence(adapter, 1)
  try {
    const [logits] = await model.forward([{ sequence, tokens: Int32Array.of(probe) }])
    const bad = logits!.findIndex((logit) => !Number.isFinite(logit))
    if (bad < 0) return
    throw new JobFailure(
      'NonFinite',
      `the logit of token ${bad} is ${logits![bad]} after one token, expected a finite number`,
    )
  } finally {
    sequence.close()
  }
}

function checkIdentity(manifest: Manifest, digest: string, where: string): void {
  const actual = adapterDigest(manifest.files, baseOf(manifest, where))
  if (actual !== digest) throw new SealBroken(`${where} holds adapter ${actual}, expected ${digest}`)
}

function baseOf(manifest: Manifest, where: string): AdapterBase {
  const { digest, quantization } = (manifest.base ?? {}) as Partial<AdapterBase>
  if (typeof digest !== 'string' || typeof quantization !== 'object') {
    throw new SealBroken(`the manifest of ${where} does not say which base the adapter belongs to`)
  }
  return { digest, quantization }
}

function checkBase(adapter: AdapterBase, pod: AdapterBase): void {
  const refuse = (field: string, recorded: string, here: string): never => {
    throw new CallRefused(
      status.FAILED_PRECONDITION,
      `the adapter was trained on ${field} ${recorded}, this pod serves ${field} ${here}`,
    )
  }
  if (adapter.digest !== pod.digest) refuse('base', adapter.digest, pod.digest)
  const [recorded, here] = [describe(adapter.quantization), describe(pod.quantization)]
  if (recorded !== here) refuse('quantisation', recorded, here)
}

function describe({ type, blockSize, doubleQuantization }: AdapterBase['quantization']): string {
  return type === 'NF4' ? `NF4/${blockSize || DEFAULT_BLOCK_SIZE}${doubleQuantization ? '/double' : ''}` : type
}

const noLinks: ReadonlySet<string | undefined> = new Set([
  'EXDEV',
  'EPERM',
  'EMLINK',
  'ENOTSUP',
  'ENOSYS',
  'EOPNOTSUPP',
])

async function linkOrCopy(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true })
  try {
    await link(from, to)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') throw new SealBroken(`${from} is missing; the manifest lists it`, { cause: error })
    if (!noLinks.has(code)) throw error
    await copyFile(from, to, constants.COPYFILE_EXCL)
  }
}

/** A folder is renamed onto another only when that is empty, so the pod that comes second finds the first one's. */
async function renameUnlessThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error
  }
}
