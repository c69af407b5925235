/**
 * The command `fetch`: brings a base model into the volume once, for all runs that want it. models/<name>/ counts when it is sealed; until then
 * everything lies in models/.fetch-<name>/, where a later Job goes on. A model on a volume is only proven and summed, in place.
 */
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FetchConfig, FetchResult } from '#proto/humanizer/trainer/v1/model.ts'
import type { HttpLocation, HuggingFaceLocation } from '#proto/humanizer/trainer/v1/storage.ts'
import type { JobContext } from '../job/context.ts'
import { JobFailure } from '../job/failure.ts'
import { syncDirectory } from '../storage/atomic.ts'
import { digestOf } from '../storage/digest.ts'
import { acquireLock, FolderLocked, type LockTimes, type WriterLock } from '../storage/lock.ts'
import { type Manifest, readManifest, SealBroken, seal, sumsOnly, verifySealed } from '../storage/sealed.ts'
import { architectureOf } from './config.ts'
import { downloadHttp, withoutQuery } from './http-download.ts'
import { downloadHubFiles, type HubFile, listHubFiles, matching } from './hub.ts'
import { sumModel } from './identity.ts'
import { readJsonObject } from './json.ts'
import { type OpenedModel, openModel, requireTemplate } from './open.ts'
import { extractTar, isTar } from './tar.ts'

const WAIT_FOR_OTHER_WRITER_MILLISECONDS = 2000
const PROGRESS_EVERY_MILLISECONDS = 10_000

/** Where a resolved model lies: `path` is relative to the claim's root, or absolute for a model in another mounted claim. */
export const modelPath = (dataDir: string, path: string): string => resolve(dataDir, path)

interface FetchContext extends JobContext {
  /** That the run brings along. */
  readonly chatTemplate?: string | undefined
  /** Beats of the writer's lock; the usual ones when absent. */
  readonly lockTimes?: LockTimes
}

/** Idempotent: a model that is already sealed is answered at once, without the network when its commit or sum is given. */
export async function fetchModel(config: FetchConfig, jobContext: FetchContext): Promise<FetchResult> {
  const context = { ...jobContext, chatTemplate: config.chatTemplate }
  const { huggingFace, volumePath, http } = config.model ?? {}
  if (huggingFace) return fetchFromHub(huggingFace, context)
  if (http) return fetchFromHttp(http, context)
  if (volumePath !== undefined) return proveInPlace(volumePath, context)
  throw new JobFailure('ConfigurationInvalid', 'model has no source; expected one of huggingFace, volumePath, http')
}

async function proveInPlace(path: string, context: FetchContext): Promise<FetchResult> {
  if (path.split('/').includes('..'))
    throw new JobFailure('ConfigurationInvalid', `model.volumePath is "${path}"; expected a path without ".."`)
  const { digest, bytes } = await sumModel(await openWhole(modelPath(context.dataDir, path), context), context.signal)
  return { model: { path, digest, revision: '', name: basename(path) }, bytes }
}

async function fetchFromHub(location: HuggingFaceLocation, context: FetchContext): Promise<FetchResult> {
  const { repository } = location
  const folder = (commit: string) => `${repository.replace('/', '--')}@${commit}`
  const source = {
    kind: 'model' as const,
    repository,
    revision: location.revision,
    endpoint: context.hubEndpoint,
    tokenFile: location.tokenFile,
  }
  const pinned = /^[0-9a-f]{40}$/.test(location.revision)
  const commit = pinned ? location.revision : (await listHubFiles({ ...source, signal: context.signal })).commit
  return fetchSealed(folder(commit), { name: repository, revision: commit }, context, async (directory, signal) => {
    const options = { ...source, revision: commit, directory, signal, onProgress: progressLog(context) }
    const select =
      location.files.length > 0
        ? matching(location.files)
        : (files: readonly HubFile[]) => modelFiles(repository, files)
    // The small file first: a model that cannot be trained should not be downloaded to learn so.
    await downloadHubFiles({ ...options, select: (files) => select(files).slice(0, 1) })
    const config = await readJsonObject(join(directory, 'config.json'))
    if (config) architectureOf(`${repository}: config.json`, config)
    await downloadHubFiles({ ...options, select })
  })
}

const MODEL_FILE =
  /^(config|generation_config|tokenizer|tokenizer_config|model\.safetensors\.index)\.json$|^chat_template\.jinja$|^model(-\d+-of-\d+)?\.safetensors$/

/** A model that can be trained: with a chat template of its own, or the run's. */
const openWhole = async (path: string, { chatTemplate }: FetchContext): Promise<OpenedModel> =>
  requireTemplate(path, await openModel(path, chatTemplate))

/** What a repository has that openModel reads, config.json first; or its only GGUF file. */
export function modelFiles(repository: string, files: readonly HubFile[]): readonly HubFile[] {
  const wanted = files.filter(({ path }) => MODEL_FILE.test(path))
  const first = wanted.find(({ path }) => path === 'config.json')
  if (first && wanted.some(({ path }) => path.endsWith('.safetensors')))
    return [first, ...wanted.filter((file) => file !== first)]
  const ggufs = files.filter(({ path }) => /^[^/]+\.gguf$/.test(path))
  if (ggufs.length === 1) return ggufs
  const found =
    ggufs.length === 0
      ? 'no .gguf file'
      : `${ggufs.length} .gguf files (${ggufs
          .map(({ path }) => path)
          .slice(0, 8)
          .join(', ')})`
  throw new JobFailure(
    'SourceInvalid',
    `${repository} has no config.json with model*.safetensors and ${found}; expected the first or one .gguf (name one by its URL in http)`,
  )
}

async function fetchFromHttp({ url, sha256 }: HttpLocation, context: FetchContext): Promise<FetchResult> {
  if (!/^[0-9a-f]{64}$/.test(sha256))
    throw new JobFailure('ConfigurationInvalid', `model.http.sha256 is "${sha256}"; expected 64 lower-case hex digits`)
  const name = nameInUrl(url)
  return fetchSealed(`http-${sha256}`, { name, revision: '' }, context, async (directory, signal) => {
    const download = `${directory}.download`
    const log = progressLog(context)
    await downloadHttp({
      url,
      file: download,
      expected: { sha256 },
      signal,
      onProgress: (held, total) => log(name, held, total),
    })
    const head = await firstBytes(download, 512)
    await mkdir(directory, { recursive: true })
    if (head.toString('latin1', 0, 4) === 'GGUF')
      await rename(download, join(directory, name.endsWith('.gguf') ? name : 'model.gguf'))
    else if (isTar(head)) await extractTar(download, directory, signal)
    else
      throw new JobFailure('SourceInvalid', `${withoutQuery(url)} is neither a GGUF file nor a .tar of a model folder`)
  })
}

function nameInUrl(url: string): string {
  if (!URL.canParse(url) || !/^https?:/.test(url))
    throw new JobFailure('ConfigurationInvalid', `model.http.url is "${url}"; expected an http or https URL`)
  const name = basename(new URL(url).pathname)
  return /^[\w][\w.-]*$/.test(name) ? name : 'model'
}

/** Runs `bring` once for all pods that want models/<folder>, proves what it brought, seals it and moves it to its place. */
async function fetchSealed(
  folder: string,
  { name, revision }: { name: string; revision: string },
  context: FetchContext,
  bring: (directory: string, signal: AbortSignal) => Promise<void>,
): Promise<FetchResult> {
  const models = join(context.dataDir, 'models')
  const target = join(models, folder)
  const workspace = join(models, `.fetch-${folder}`)
  const sealed = async (): Promise<FetchResult | undefined> => {
    const manifest = await readWhole(target, context)
    if (!manifest) return undefined
    return { model: { path: `models/${folder}`, digest: manifest.digest, revision, name }, bytes: bytesOf(manifest) }
  }
  for (;;) {
    const result = await sealed()
    if (result) return result
    const lock = await tryLock(workspace, context)
    if (!lock) {
      context.log.info({ folder }, 'another pod fetches this model; waiting for it')
      await sleep(WAIT_FOR_OTHER_WRITER_MILLISECONDS, undefined, { signal: context.signal })
      continue
    }
    let finished = false
    try {
      // Another pod may have finished between the look and the lock.
      finished = (await sealed()) !== undefined
      if (finished) continue
      const directory = join(workspace, 'model')
      await bring(directory, AbortSignal.any([context.signal, lock.lost]))
      const { files } = await openWhole(directory, context)
      const names = files.map((file) => file.name)
      await seal(directory, (sums) => digestOf(sumsOnly(sums, names)), { name, revision })
      lock.lost.throwIfAborted()
      await rm(target, { recursive: true, force: true })
      await rename(directory, target)
      await syncDirectory(models)
      finished = true
    } catch (error) {
      // Bytes that are whole and wrong will not get better; everything else is worth continuing.
      finished = error instanceof JobFailure && error.reason === 'SourceInvalid'
      throw error
    } finally {
      await lock.release()
      if (finished) await rm(workspace, { recursive: true, force: true })
    }
  }
}

async function tryLock(
  workspace: string,
  { podUid, signal, lockTimes }: FetchContext,
): Promise<WriterLock | undefined> {
  await mkdir(workspace, { recursive: true })
  try {
    return await acquireLock(workspace, podUid, signal, lockTimes)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // ENOENT: the other pod finished and took its workspace away.
    if (error instanceof FolderLocked || code === 'ENOENT') return undefined
    throw error
  }
}

/** The manifest of a sealed model whose every byte is as it says; a damaged one is fetched again. */
async function readWhole(target: string, { log }: JobContext): Promise<Manifest | undefined> {
  try {
    return (await readManifest(target)) && (await verifySealed(target))
  } catch (error) {
    if (!(error instanceof SealBroken)) throw error
    log.warn({ reason: error.message }, 'the sealed model is damaged and is fetched again')
    return undefined
  }
}

const bytesOf = ({ files }: Manifest): number => Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0)

async function firstBytes(path: string, length: number): Promise<Buffer> {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/** Logs at most one line each ten seconds; sizes are bytes. */
function progressLog({ log }: JobContext): (file: string, bytes: number, total: number | undefined) => void {
  let last = 0
  return (file, bytes, total) => {
    const now = performance.now()
    if (now - last < PROGRESS_EVERY_MILLISECONDS) return
    last = now
    log.info({ file, bytes, total }, 'fetching')
  }
}
