import { constants, copyFile, link, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { status } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import type { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import { type Arithmetic, type Canary, disagreement, lossesOf, objection, readCanary } from '../evaluate/canary.ts'
import { JobFailure } from '../job/failure.ts'
import { readAdapter } from '../model/peft.ts'
import type { Adapter, Model } from '../native/index.ts'
import { CallRefused } from '../service/errors.ts'
import { type AdapterBase, adapterDigest, adapterFiles, chatTemplateName } from '../storage/adapter-identity.ts'
import { isTemporary, renameUnlessThere, syncDirectory, temporaryName } from '../storage/atomic.ts'
import { hexOf } from '../storage/digest.ts'
import { claimFolder, keepOwners, type OwnerRecord } from '../storage/owners.ts'
import { type Manifest, readManifest, SealBroken, seal, verifySealed } from '../storage/sealed.ts'
import { DEFAULT_BLOCK_SIZE } from './base.ts'
import type { LoadedAdapter } from './lease.ts'

/** adapters/<hex> below the claim's root: the only place that serving reads adapters from. */
export const adapterFolder = (dataDir: string, digest: string): string => join(dataDir, 'adapters', hexOf(digest))

/**
 * Promotes the adapter if it is not there yet, loads and proves it. A promoted folder that is damaged is made again from
 * its checkpoint where that is whole; otherwise the damage is what is thrown.
 */
export async function provide(
  dataDir: string,
  desired: DesiredAdapter,
  base: ServingBase,
  log: Logger,
  owner?: OwnerRecord,
): Promise<LoadedAdapter> {
  await promote(dataDir, desired, owner)
  try {
    return await loadAdapter(dataDir, desired.digest, base, log)
  } catch (damage) {
    if (!(damage instanceof SealBroken)) throw damage
    await promoteAgain(dataDir, desired, owner).catch((error) => {
      log.warn({ err: error }, 'a damaged adapter cannot be promoted again')
      throw damage
    })
    log.warn({ digest: desired.digest, damage: damage.message }, 'a damaged adapter was promoted again')
    return loadAdapter(dataDir, desired.digest, base, log)
  }
}

/**
 * Makes adapters/<hex> from the sealed checkpoint at `sourcePath`, by hard links where the volume has them. Does
 * nothing when it is there already; two pods may do it at once. NOT_FOUND when neither folder is there, DATA_LOSS when
 * the checkpoint's bytes or identity are not what is asked for; nothing is left behind then.
 */
export async function promote(dataDir: string, desired: DesiredAdapter, owner?: OwnerRecord): Promise<void> {
  const target = adapterFolder(dataDir, desired.digest)
  await claimFolder(target, owner)
  if (await isPromoted(target)) return
  const copy = await copyCheckpoint(dataDir, desired)
  try {
    await claimFolder(copy, owner)
    await renameUnlessThere(copy, target)
    await claimFolder(target, owner)
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
  await syncDirectory(dirname(target))
}

/** As promote, in the place of a damaged folder, whose owners stay. Nothing changes unless the checkpoint is whole. */
export async function promoteAgain(dataDir: string, desired: DesiredAdapter, owner?: OwnerRecord): Promise<void> {
  const target = adapterFolder(dataDir, desired.digest)
  const copy = await copyCheckpoint(dataDir, desired)
  const aside = temporaryOf(target)
  try {
    await keepOwners(target, copy)
    await claimFolder(copy, owner)
    await rename(target, aside).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error // another pod was first
    })
    await renameUnlessThere(copy, target)
    await claimFolder(target, owner)
  } finally {
    for (const folder of [copy, aside]) await rm(folder, { recursive: true, force: true })
  }
  await syncDirectory(dirname(target))
}

/** Whether a manifest is there; one that cannot be read is for loadAdapter to refuse. */
const isPromoted = async (target: string): Promise<boolean> => {
  try {
    return (await readManifest(target)) !== undefined
  } catch (error) {
    if (error instanceof SealBroken) return true
    throw error
  }
}

/** The adapter's own files of the checkpoint, sealed and checked in a temporary folder beside adapters/<hex>. */
async function copyCheckpoint(dataDir: string, { digest, sourcePath }: DesiredAdapter): Promise<string> {
  const source = join(dataDir, sourcePath)
  const sealed = sourcePath === '' ? undefined : await readManifest(source)
  if (!sealed) {
    const tried =
      sourcePath === '' ? 'no checkpoint is named to promote it from' : `${sourcePath} is not a sealed checkpoint`
    throw new JobFailure('NotFound', `adapters/${hexOf(digest)} does not exist and ${tried}`)
  }
  checkIdentity(sealed, digest, sourcePath)
  const temporary = temporaryOf(adapterFolder(dataDir, digest))
  await mkdir(temporary, { recursive: true })
  try {
    for (const name of adapterFiles(sealed.files)) await linkOrCopy(join(source, name), join(temporary, name))
    const { templateDate, canary } = sealed
    const facts = { base: baseOf(sealed, sourcePath), ...(templateDate !== undefined && { templateDate }), canary }
    checkIdentity(await seal(temporary, digest, facts), digest, sourcePath)
    return temporary
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    throw error
  }
}

const temporaryOf = (folder: string): string => join(dirname(folder), temporaryName(basename(folder)))

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
  readonly arithmetic: Arithmetic
}

/**
 * Reads adapters/<hex> again byte by byte, loads it and proves one token. DATA_LOSS for changed bytes,
 * FAILED_PRECONDITION for an adapter of another base or quantisation, one whose logits are not finite, or one that computes
 * another loss on its canary set than when it was sealed.
 */
async function loadAdapter(dataDir: string, digest: string, base: ServingBase, log: Logger): Promise<LoadedAdapter> {
  const folder = adapterFolder(dataDir, digest)
  const manifest = await verifySealed(folder)
  checkIdentity(manifest, digest, folder)
  checkBase(baseOf(manifest, folder), base.identity)
  const canary = readCanary(manifest.canary, folder)
  const { config, tensors } = await readAdapter(folder, base.model.architecture)
  // The seed only matters to dropout, which serving has none of.
  const adapter = await base.model.loadAdapter({ ...config, seed: 0 }, tensors)
  try {
    await prove(base.model, adapter, base.probe)
    if (canary) await proveCanary(base, adapter, canary)
    else log.warn({ digest }, 'sealed without a canary set: what it computes is not compared')
  } catch (error) {
    adapter.close()
    throw error
  }
  const { templateDate } = manifest
  const chatTemplate = manifest.files[chatTemplateName] && (await readFile(join(folder, chatTemplateName), 'utf8'))
  return {
    adapter,
    ...(typeof templateDate === 'string' && { templateDate }),
    ...(chatTemplate && { chatTemplate }),
  }
}

/** The losses of the set must be those that were sealed. */
async function proveCanary({ model, arithmetic }: ServingBase, adapter: Adapter, canary: Canary): Promise<void> {
  const found = await objection(canary, arithmetic, (which) =>
    lossesOf(model, which === 'loss' ? adapter : undefined, canary.texts),
  )
  if (found) throw new CallRefused(status.FAILED_PRECONDITION, found)
}

/** Sets that the base is held against. */
const mostSets = 3

/**
 * One token of the untouched base, and the canary sets of adapters of this base on the claim: it is refused when it agrees with none of
 * them, so that one bad set does not take away what everything can go back to.
 */
export async function proveBase(dataDir: string, base: ServingBase): Promise<void> {
  await prove(base.model, undefined, base.probe)
  let found: string | undefined
  for (const canary of await canariesOf(dataDir, base.identity)) {
    found = disagreement(canary, 'baseLoss', await lossesOf(base.model, undefined, canary.texts), base.arithmetic)
    if (!found) return
  }
  if (found) throw new CallRefused(status.FAILED_PRECONDITION, `the base, ${found}`)
}

async function canariesOf(dataDir: string, { digest, quantization }: AdapterBase): Promise<Canary[]> {
  const found: Canary[] = []
  const names = await readdir(join(dataDir, 'adapters')).catch(() => [])
  for (const name of names.filter((each) => !isTemporary(each)).sort()) {
    if (found.length === mostSets) break
    const folder = join(dataDir, 'adapters', name)
    try {
      const manifest = await readManifest(folder)
      const base = manifest && baseOf(manifest, folder)
      if (base?.digest !== digest || describe(base.quantization) !== describe(quantization)) continue
      const canary = readCanary(manifest?.canary, folder)
      if (canary) found.push(canary)
    } catch (error) {
      if (!(error instanceof SealBroken)) throw error // a damaged folder is for who loads it to refuse
    }
  }
  return found
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
